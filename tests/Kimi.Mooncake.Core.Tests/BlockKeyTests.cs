namespace Kimi.Mooncake.Core.Tests;

[TestFixture]
internal sealed class BlockKeyTests
{
    [Test]
    public void CopyTo_AfterConstruction_GivesTheSameBytes()
    {
        var bytes = Enumerable.Range(0, BlockKey.SizeBytes).Select(i => (byte)(255 - (i * 7))).ToArray();
        var copy = new byte[BlockKey.SizeBytes];
        new BlockKey(bytes).CopyTo(copy);
        Assert.That(copy, Is.EqualTo(bytes));
    }

    [Test]
    public void ToString_KnownBytes_IsTheirLowerCaseHexadecimal()
    {
        var bytes = Enumerable.Range(0, BlockKey.SizeBytes).Select(i => (byte)(i * 9)).ToArray();
        Assert.That(new BlockKey(bytes).ToString(), Is.EqualTo(Convert.ToHexStringLower(bytes)));
    }

    [TestCase(0)]
    [TestCase(31)]
    [TestCase(33)]
    public void BlockKey_WrongLength_Throws(int length)
    {
        var bytes = new byte[length];
        Assert.That(() => new BlockKey(bytes), Throws.ArgumentException.With.Message.Contains($"not {length}"));
    }

    [Test]
    public void Equals_AnyByteChanged_IsFalse()
    {
        var bytes = new byte[BlockKey.SizeBytes];
        var key = new BlockKey(bytes);
        for (var i = 0; i < bytes.Length; i++)
        {
            bytes[i] = 1;
            var other = new BlockKey(bytes);
            bytes[i] = 0;
            Assert.That(key == other, Is.False, $"byte {i}");
            Assert.That(key != other, Is.True, $"byte {i}");
            Assert.That(key.Equals((object)other), Is.False, $"byte {i}");
        }

        var same = new BlockKey(bytes);
        Assert.That(key, Is.EqualTo(same));
        Assert.That(key.GetHashCode(), Is.EqualTo(same.GetHashCode()));
    }
}
