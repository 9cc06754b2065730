using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Tests;

[TestFixture]
internal sealed class BlockKeyChainTests
{
    private static readonly KvLayout Layout = new(KvElementType.F32, 3, 64, 16, 16);

    [Test]
    public void Root_KnownFields_IsTheHashOfLengthPrefixedFields()
    {
        // Arrange: written out a second way, so that a change of the format cannot go unnoticed.
        var expected = new List<byte>();
        AddField(expected, [1, 0, 0, 0]);
        AddField(expected, Encoding.UTF8.GetBytes("fingerprint"));
        AddField(expected, Encoding.UTF8.GetBytes("F32/layers=3/latent=64/rope=16/block=16"));
        AddField(expected, Encoding.UTF8.GetBytes("salt"));

        // Act
        var root = BlockKeyChain.Root("fingerprint", Layout, "salt");

        // Assert
        Assert.That(root, Is.EqualTo(new BlockKey(SHA256.HashData(expected.ToArray()))));
    }

    [Test]
    public void Next_KnownTokens_IsTheHashOfParentAndLittleEndianTokens()
    {
        var root = BlockKeyChain.Root("m", Layout, "");
        var tokens = Enumerable.Range(0, 16).Select(i => (i * 7919) - 3).ToArray();
        var input = new byte[32 + 64];
        root.CopyTo(input);
        for (var i = 0; i < tokens.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(input.AsSpan(32 + (4 * i)), tokens[i]);
        }

        Assert.That(BlockKeyChain.Next(root, tokens), Is.EqualTo(new BlockKey(SHA256.HashData(input))));
    }

    [Test]
    public void Root_AnyFieldMoved_Differs()
    {
        var roots = new[]
        {
            BlockKeyChain.Root("ab", Layout, "c"),
            BlockKeyChain.Root("a", Layout, "bc"),
            BlockKeyChain.Root("ab", Layout, ""),
            BlockKeyChain.Root("ab", Layout with { BlockTokens = 32 }, "c"),
            BlockKeyChain.Root("ab", Layout with { LayerCount = 4 }, "c"),
        };

        Assert.That(roots.Distinct().Count(), Is.EqualTo(roots.Length));
    }

    [Test]
    public void Extend_TokenByToken_GivesTheKeysOfTheWhole()
    {
        // Arrange
        var tokens = Enumerable.Range(1, 100).ToArray();
        var root = BlockKeyChain.Root("m", Layout, "");
        var whole = new BlockKeyChain(root, 16);
        whole.Extend(tokens);
        var grown = new BlockKeyChain(root, 16);

        // Act
        for (var length = 0; length <= tokens.Length; length++)
        {
            grown.Extend(tokens.AsSpan(0, length));
            Assert.That(grown.Count, Is.EqualTo(length / 16), "only full blocks have keys");
        }

        // Assert
        Assert.That(grown.Keys.ToArray(), Is.EqualTo(whole.Keys.ToArray()));
        Assert.That(grown.ParentOf(0), Is.EqualTo(root));
        Assert.That(grown.ParentOf(3), Is.EqualTo(whole.Keys[2]));
    }

    [Test]
    public void Extend_EarlyTokenChanged_ChangesEveryLaterKey()
    {
        var tokens = Enumerable.Range(1, 64).ToArray();
        var root = BlockKeyChain.Root("m", Layout, "");
        var before = new BlockKeyChain(root, 16);
        before.Extend(tokens);
        tokens[17]++;
        var after = new BlockKeyChain(root, 16);
        after.Extend(tokens);

        Assert.That(after.Keys[0], Is.EqualTo(before.Keys[0]));
        for (var i = 1; i < 4; i++)
        {
            Assert.That(after.Keys[i], Is.Not.EqualTo(before.Keys[i]), $"block {i}");
        }
    }

    [Test]
    public void Next_Repeated_DoesNotAllocate()
    {
        var key = BlockKeyChain.Root("m", Layout, "");
        var tokens = new int[512];
        key = BlockKeyChain.Next(key, tokens);

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            key = BlockKeyChain.Next(key, tokens);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [TestCase(0)]
    [TestCase(15)]
    [TestCase(48)]
    [TestCase(1024)]
    public void BlockKeyChain_NotABlockSize_Throws(int blockTokens)
    {
        Assert.That(() => new BlockKeyChain(default, blockTokens), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(
            () => BlockKeyChain.Next(default, new int[blockTokens]), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static void AddField(List<byte> bytes, byte[] field)
    {
        bytes.AddRange(BitConverter.GetBytes(field.Length));
        bytes.AddRange(field);
    }
}
