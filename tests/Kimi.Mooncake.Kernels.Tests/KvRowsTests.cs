using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>What a pool makes of values, judged by plain scalar code.</summary>
internal sealed class KvRowsTests
{
    private static readonly KvElementType[] Types = Enum.GetValues<KvElementType>();

    [Test]
    public void WriteThenRead_RandomRows_AreTheValuesOfTheDefinition(
        [ValueSource(nameof(Types))] KvElementType type, [Range(1, 30)] int seed)
    {
        // Arrange: magnitudes from far below what has a scale to far above one.
        using var tensors = new TestTensors(seed);
        var layout = new KvLayout(type, 2, tensors.Next(1, 600), 2 * tensors.Next(1, 40), 16);
        using var pool = new PagedKvMemory(layout, 2);
        pool.Block(0).Fill(0xff);
        pool.Block(1).Fill(0xff);
        var values = new float[layout.ValuesPerTokenAndLayer];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = tensors.NextValue() * MathF.Pow(2, (i / 64 * 37 % 250) - 130);
        }

        var read = new float[values.Length];
        var before = pool.Block(1).ToArray();

        // Act
        pool.Write(1, 1, 5, values);
        pool.Read(1, 1, 5, read);

        // Assert
        Assert.That(Closeness.SameBits(read, KvOracle.Stored(type, values, layout.LatentRank)), $"seed {seed}");
        var row = layout.BytesPerTokenAndLayer;
        var start = (int)(pool.Address(1, 1, 5) - pool.Address(1, 0, 0));
        var after = pool.Block(1).ToArray();
        Assert.That(after.AsSpan(0, start).SequenceEqual(before.AsSpan(0, start)), $"seed {seed}: bytes before");
        Assert.That(
            after.AsSpan(start + row).SequenceEqual(before.AsSpan(start + row)), $"seed {seed}: bytes behind");
        Assert.That(start, Is.EqualTo(((16 + 5) * row)));
    }

    [Test]
    public void ToBf16_StoredRow_IsTheDecodedValueRoundedOnce(
        [ValueSource(nameof(Types))] KvElementType type, [Range(1, 10)] int seed)
    {
        using var tensors = new TestTensors(seed);
        var layout = new KvLayout(type, 1, tensors.Next(1, 600), 2 * tensors.Next(1, 40), 16);
        using var pool = new PagedKvMemory(layout, 1);
        var values = Enumerable.Range(0, layout.ValuesPerTokenAndLayer).Select(_ => tensors.NextValue()).ToArray();
        pool.Write(0, 0, 3, values);
        pool.Read(0, 0, 3, values);

        var actual = ToBf16(pool, 3);

        Assert.That(actual, Is.EqualTo(values.Select(KvOracle.Bf16).ToArray()), $"seed {seed}");
    }

    [Test]
    public void Write_TheSameValuesAfterOthers_LeavesTheSameBytes([ValueSource(nameof(Types))] KvElementType type)
    {
        // Odd sizes: what pads a row is part of the block that is stored and checked.
        using var tensors = new TestTensors(4);
        var layout = new KvLayout(type, 1, 67, 6, 16);
        using var pool = new PagedKvMemory(layout, 2);
        pool.Block(0).Fill(0xff);
        pool.Block(1).Clear();
        var values = Enumerable.Range(0, 73).Select(_ => tensors.NextValue()).ToArray();

        for (var token = 0; token < layout.BlockTokens; token++)
        {
            pool.Write(0, 0, token, values);
            pool.Write(1, 0, token, values);
        }

        Assert.That(pool.Block(0).SequenceEqual(pool.Block(1)));
    }

    [Test]
    public void Write_ValueThatIsNoNumber_IsReadAsSuch([ValueSource(nameof(Types))] KvElementType type)
    {
        using var pool = new PagedKvMemory(new KvLayout(type, 1, 128, 2, 16), 1);
        var values = new float[130];
        (values[70], values[129]) = (float.NaN, float.NaN);
        var read = new float[130];

        pool.Write(0, 0, 0, values);
        pool.Read(0, 0, 0, read);

        Assert.That(read[..64], Is.All.Zero);
        Assert.That(read[70], Is.NaN);
        Assert.That(read[129], Is.NaN);
    }

    [Test]
    public void Write_WrongNumberOfValues_Throws()
    {
        using var pool = new PagedKvMemory(new KvLayout(KvElementType.BF16, 1, 4, 2, 16), 1);

        Assert.That(() => pool.Write(0, 0, 0, new float[5]), Throws.ArgumentException.With.Message.Contains("5"));
        Assert.That(() => pool.Read(0, 0, 0, new float[7]), Throws.ArgumentException.With.Message.Contains("7"));
        Assert.That(() => pool.Write(0, 0, 16, new float[6]), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static unsafe ushort[] ToBf16(PagedKvMemory pool, int token)
    {
        var target = new ushort[pool.Layout.ValuesPerTokenAndLayer];
        fixed (ushort* first = target)
        {
            KvRows.ToBf16(pool.Layout, pool.RowPointer(0, 0, token), first);
        }

        return target;
    }
}
