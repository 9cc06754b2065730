namespace Kimi.Mooncake.Core.Tests;

[TestFixture]
internal sealed class KvLayoutTests
{
    private static readonly KvLayout Layout = new(KvElementType.F32, 61, 512, 64, 64);

    [Test]
    public void Sizes_OfKimiK2_AreTheProducts()
    {
        Assert.That(Layout.ValuesPerTokenAndLayer, Is.EqualTo(576));
        Assert.That(Layout.BytesPerToken, Is.EqualTo(576 * 4 * 61));
        Assert.That(Layout.BytesPerBlockLayer, Is.EqualTo(576 * 4 * 64));
        Assert.That(Layout.BytesPerBlock, Is.EqualTo(Layout.BytesPerToken * 64));
        Assert.That(Layout.BytesPerBlock, Is.EqualTo(Layout.BytesPerBlockLayer * 61));
    }

    [TestCase(KvElementType.F32, 512, 64, 2304)]
    [TestCase(KvElementType.BF16, 512, 64, 1152)]
    [TestCase(KvElementType.Q8, 512, 64, (8 * 4) + 128 + 512)]
    [TestCase(KvElementType.F32, 65, 6, 284)]
    [TestCase(KvElementType.BF16, 65, 6, 142)]
    [TestCase(KvElementType.Q8, 65, 6, (2 * 4) + 12 + 65 + 3)]
    [TestCase(KvElementType.Q8, 1, 2, 4 + 4 + 1 + 3)]
    public void BytesPerTokenAndLayer_OfEachType_AreThoseOfItsRow(KvElementType type, int latent, int rope, int bytes)
    {
        var layout = new KvLayout(type, 3, latent, rope, 64);

        Assert.That(layout.BytesPerTokenAndLayer, Is.EqualTo(bytes));
        Assert.That(layout.BytesPerBlock, Is.EqualTo(bytes * 3 * 64));
        Assert.That(KvLayout.Parse(layout.Describe()), Is.EqualTo(layout));
    }

    [TestCase(KvElementType.BF16, 1 << 20, 15, true)]
    [TestCase(KvElementType.BF16, 1 << 20, 16, false)]
    [TestCase(KvElementType.Q8, 1 << 20, 28, true)]
    [TestCase(KvElementType.Q8, 1 << 20, 31, false)]
    [TestCase(KvElementType.Q8, int.MaxValue, 1, false)]
    [TestCase(KvElementType.BF16, int.MaxValue, 1, false)]
    public void IsAddressable_OfEachType_GoesByItsBytes(KvElementType type, int latent, int layers, bool expected) =>
        Assert.That(new KvLayout(type, layers, latent, 2, 64).IsAddressable, Is.EqualTo(expected));

    [Test]
    public void BytesPerTokenAndLayer_UnknownType_Throws()
    {
        var layout = Layout with { ElementType = (KvElementType)99 };
        Assert.That(() => layout.BytesPerBlock, Throws.InvalidOperationException.With.Message.Contains("99"));
    }

    [Test]
    public void Sizes_BeyondThirtyTwoBits_ThrowInsteadOfWrapping()
    {
        // 17 times 2^28: as 32 bits it would be a sixteenth.
        var layout = new KvLayout(KvElementType.F32, 17, (1 << 20) - 2, 2, 64);

        Assert.That(layout.IsAddressable, Is.False);
        Assert.That(() => layout.BytesPerBlock, Throws.TypeOf<OverflowException>());
        Assert.That((layout with { LayerCount = 7 }).IsAddressable, Is.True);
        Assert.That((layout with { LayerCount = 7 }).BytesPerBlock, Is.EqualTo(7 << 28));
    }

    [Test]
    public void IsBlockSize_EveryNumberToAThousand_TakesPowersOfTwoFrom16To512()
    {
        var sizes = Enumerable.Range(-1, 1100).Where(KvLayout.IsBlockSize);
        Assert.That(sizes, Is.EqualTo(new[] { 16, 32, 64, 128, 256, 512 }));
        Assert.That(KvLayout.IsBlockSize(int.MinValue), Is.False);
        Assert.That(KvLayout.IsBlockSize(KvLayout.BlockTokensDefault), Is.True);
    }

    [Test]
    public void Describe_KnownLayout_IsTheTextInEveryStoredBlock()
    {
        Assert.That(Layout.Describe(), Is.EqualTo("F32/layers=61/latent=512/rope=64/block=64"));
    }

    [TestCase("")]
    [TestCase("F32/layers=61/latent=512/rope=64")]
    [TestCase("F32/layers=0/latent=512/rope=64/block=64")]
    [TestCase("F32/latent=512/layers=61/rope=64/block=64")]
    [TestCase("Q8/layers=61/latent=2147483647/rope=2147483647/block=64")]
    [TestCase("bf16/layers=61/latent=512/rope=64/block=64")]
    [TestCase("F99/layers=61/latent=512/rope=64/block=64")]
    [TestCase("F32/layers/latent=512/rope=64/block=64")]
    [TestCase("99/layers=61/latent=512/rope=64/block=64")]
    [TestCase("F32/layers=17/latent=1048574/rope=2/block=64")]
    [TestCase("F32/layers=1/latent=2147483647/rope=2147483647/block=64")]
    public void Parse_TextOfNoLayout_IsNull(string text) => Assert.That(KvLayout.Parse(text), Is.Null);

    [Test]
    public void Parse_DescribedLayout_IsTheLayout() =>
        Assert.That(KvLayout.Parse(Layout.Describe()), Is.EqualTo(Layout));

    [Test]
    public void Describe_AnyPartChanged_Differs()
    {
        var texts = new[]
        {
            Layout,
            Layout with { LayerCount = 60 },
            Layout with { LatentRank = 511, RopeDimension = 65 },
            Layout with { RopeDimension = 32 },
            Layout with { BlockTokens = 128 },
            Layout with { ElementType = (KvElementType)1 },
        }.Select(layout => layout.Describe());

        Assert.That(texts, Is.Unique);
    }
}
