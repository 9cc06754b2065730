using Google.Protobuf;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Protocol.Tests;

/// <summary>Block keys as a field of bytes.</summary>
[TestFixture]
internal sealed class BlockKeyMessagesTests
{
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(5)]
    public void Keys_ThereAndBack_AreTheSame(int count)
    {
        var random = new Random(count);
        var keys = new BlockKey[count];
        foreach (ref var key in keys.AsSpan())
        {
            var bytes = new byte[BlockKey.SizeBytes];
            random.NextBytes(bytes);
            key = new BlockKey(bytes);
        }

        var field = BlockKeyMessages.ToBytes(keys);

        Assert.That(field.Length, Is.EqualTo(count * BlockKey.SizeBytes));
        Assert.That(BlockKeyMessages.ToKeys(field, "keys"), Is.EqualTo(keys));
    }

    [Test]
    public void Keys_OfAnOddLength_AreRefusedByName()
    {
        var fault = Assert.Throws<InvalidDataException>(
            () => BlockKeyMessages.ToKeys(ByteString.CopyFrom(new byte[40]), "block_keys"));

        Assert.That(fault!.Message, Does.Contain("block_keys").And.Contain("40 bytes").And.Contain("32"));
    }
}
