using System.Buffers.Binary;
using Kimi.Mooncake.Kernels.Cpu.Amx;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>The tile registers of the interpreter, and the configurations that routines load into them.</summary>
internal sealed unsafe class TileUnitTests
{
    [Test]
    public void Write_RowsAndDepth_IsTheDocumentedBlock(
        [Values(1, 2, 7, 15, 16)] int rows, [Values(16, 32)] int depth)
    {
        var block = new byte[TileConfiguration.SizeBytes];
        block.AsSpan().Fill(0xff);

        TileConfiguration.Write(block, rows, depth);

        var expected = new byte[64];
        expected[0] = 1;
        (int Tile, int Rows, int ColumnBytes)[] tiles =
            [(0, rows, 64), (1, rows, 64), (2, rows, depth), (3, rows, depth), (4, depth / 4, 64), (5, depth / 4, 64)];
        foreach (var tile in tiles)
        {
            expected[48 + tile.Tile] = (byte)tile.Rows;
            expected[16 + (2 * tile.Tile)] = (byte)tile.ColumnBytes;
        }

        Assert.That(block, Is.EqualTo(expected));
        Assert.That(() => new TileUnit().Configure(block), Throws.Nothing);
    }

    [TestCase(0, 2, TestName = "Configure_UnknownPalette_Faults")]
    [TestCase(1, 1, TestName = "Configure_RowToResumeAt_Faults")]
    [TestCase(2, 1, TestName = "Configure_ReservedByteAfterThePalette_Faults")]
    [TestCase(16, 65, TestName = "Configure_RowsOfTooManyBytes_Faults")]
    [TestCase(17, 1, TestName = "Configure_RowsOfFarTooManyBytes_Faults")]
    [TestCase(32, 1, TestName = "Configure_BytesPerRowOfANinthTile_Faults")]
    [TestCase(48, 17, TestName = "Configure_TooManyRows_Faults")]
    [TestCase(48, 0, TestName = "Configure_BytesWithoutRows_Faults")]
    [TestCase(54, 3, TestName = "Configure_RowsWithoutBytes_Faults")]
    [TestCase(56, 1, TestName = "Configure_ReservedByteAtTheEnd_Faults")]
    public void Configure_InvalidByte_Faults(int at, int value)
    {
        var block = new byte[TileConfiguration.SizeBytes];
        TileConfiguration.Write(block, 16, 32);
        block[at] = (byte)value;

        Assert.That(() => new TileUnit().Configure(block),
            Throws.TypeOf<MachineFaultException>().With.Message.StartsWith("#GP"));
    }

    [Test]
    public void AddProducts_RandomTiles_AreSumsOfProductsOfBytes(
        [Range(1, 8)] int seed, [Values] bool isLeftSigned)
    {
        var random = new Random(seed);
        var (rows, depth) = (random.Next(1, 17), 4 * random.Next(1, 17));
        var tiles = Configured(rows, depth);
        var (a, b) = (RandomBytes(random, rows * depth), RandomBytes(random, depth * 16));
        Load(tiles, AmxAssembly.InputTile, a, depth);
        Load(tiles, AmxAssembly.WeightTile, b, 64);

        tiles.AddProducts(AmxAssembly.SumTile, AmxAssembly.InputTile, AmxAssembly.WeightTile, isLeftSigned);
        tiles.AddProducts(AmxAssembly.SumTile, AmxAssembly.InputTile, AmxAssembly.WeightTile, isLeftSigned);

        for (var row = 0; row < 16; row++)
        {
            for (var output = 0; output < 16; output++)
            {
                var expected = row >= rows ? 0 : 2 * Enumerable.Range(0, depth).Sum(k =>
                    Value(a[(row * depth) + k]) * (sbyte)b[(k / 4 * 64) + (output * 4) + (k % 4)]);
                var actual = BinaryPrimitives.ReadInt32LittleEndian(
                    tiles.Data(AmxAssembly.SumTile).AsSpan((row * 64) + (output * 4)));
                Assert.That(actual, Is.EqualTo(expected), $"seed {seed}: row {row}, output {output}");
            }
        }

        int Value(byte stored) => isLeftSigned ? (sbyte)stored : stored;
    }

    [Test]
    public void AddExactBf16Products_SmallIntegers_AreSumsOfProducts([Range(1, 4)] int seed)
    {
        var random = new Random(seed);
        var (rows, depth) = (random.Next(1, 17), 4 * random.Next(1, 17));
        var tiles = Configured(rows, depth);
        float[] a = Integers(random, rows * depth / 2), b = Integers(random, depth / 2 * 16);
        Load(tiles, AmxAssembly.InputTile, Bf16Bytes(a), depth);
        Load(tiles, AmxAssembly.WeightTile, Bf16Bytes(b), 64);

        tiles.AddExactBf16Products(AmxAssembly.SumTile, AmxAssembly.InputTile, AmxAssembly.WeightTile);

        for (var row = 0; row < rows; row++)
        {
            for (var output = 0; output < 16; output++)
            {
                var expected = Enumerable.Range(0, depth / 2).Sum(k =>
                    a[(row * depth / 2) + k] * b[(k / 2 * 32) + (output * 2) + (k % 2)]);
                var actual = BinaryPrimitives.ReadSingleLittleEndian(
                    tiles.Data(AmxAssembly.SumTile).AsSpan((row * 64) + (output * 4)));
                Assert.That(actual, Is.EqualTo(expected), $"seed {seed}: row {row}, output {output}");
            }
        }
    }

    [Test]
    public void LoadThenStore_SmallerTile_TouchesItsRowsAndBytesOnly()
    {
        var tiles = Configured(3, 16);
        var source = RandomBytes(new Random(1), 200);
        var target = new byte[200];
        var memory = new MachineMemory();
        fixed (byte* from = source)
        fixed (byte* to = target)
        {
            memory.Allow(from, (2 * 50) + 16, writable: false);
            memory.Allow(to, (2 * 60) + 16, writable: true);
            tiles.Load(AmxAssembly.InputTile, memory, (ulong)from, 50);
            tiles.Store(AmxAssembly.InputTile, memory, (ulong)to, 60);
        }

        var expected = new byte[200];
        for (var row = 0; row < 3; row++)
        {
            source.AsSpan(row * 50, 16).CopyTo(expected.AsSpan(row * 60));
        }

        Assert.That(target, Is.EqualTo(expected));
    }

    [Test]
    public void AddProducts_StateThatItDoesNotAllow_IsUndefined()
    {
        var tiles = Configured(4, 16);
        (int Target, int Left, int Right)[] wrong = [(0, 0, 4), (0, 2, 2), (0, 2, 6), (0, 0, 1), (0, 4, 2), (2, 3, 4)];

        foreach (var (target, left, right) in wrong)
        {
            AssertUndefined(() => tiles.AddProducts(target, left, right));
        }

        tiles.Release();
        AssertUndefined(() => tiles.AddProducts(0, 2, 4));
        AssertUndefined(() => tiles.Zero(0));
    }

    [Test]
    public void Load_BeyondWhatWasGiven_Faults()
    {
        var tiles = Configured(2, 16);
        var memory = new MachineMemory();
        fixed (byte* from = new byte[64])
        {
            memory.Allow(from, 47, writable: false);
            var address = (ulong)from;
            Assert.That(() => tiles.Load(AmxAssembly.InputTile, memory, address, 32),
                Throws.TypeOf<MachineFaultException>().With.Message.StartsWith("#PF"));
            Assert.That(() => tiles.Store(AmxAssembly.InputTile, memory, address, 16),
                Throws.TypeOf<MachineFaultException>().With.Message.StartsWith("#PF"));
        }
    }

    private static void AssertUndefined(Action action) => Assert.That(
        () => action(), Throws.TypeOf<MachineFaultException>().With.Message.StartsWith("#UD"));

    private static TileUnit Configured(int rows, int depth)
    {
        var block = new byte[TileConfiguration.SizeBytes];
        TileConfiguration.Write(block, rows, depth);
        var tiles = new TileUnit();
        tiles.Configure(block);
        return tiles;
    }

    private static float[] Integers(Random random, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)random.Next(-8, 9))];

    private static byte[] Bf16Bytes(float[] values) =>
        [.. values.SelectMany(value => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)))];

    private static byte[] RandomBytes(Random random, int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }

    private static void Load(TileUnit tiles, int tile, byte[] bytes, int stride)
    {
        var memory = new MachineMemory();
        fixed (byte* from = bytes)
        {
            memory.Allow(from, bytes.Length, writable: false);
            tiles.Load(tile, memory, (ulong)from, (ulong)stride);
        }
    }
}
