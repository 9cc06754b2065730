using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Models.Tests;

[TestFixture]
internal sealed class PrefillWorkTests
{
    [Test]
    public void Flops_OfTheBuiltInModel_AreThoseOfItsDescription()
    {
        // The model's description counts 4,992 operations for each pair of positions over three layers.
        const long Tokens = 1 << 20;

        var perPair = PrefillWork.Flops(NeedleModel.Config, Tokens) / (Tokens * (Tokens + 1) / 2.0);

        // The linear layers, about 4.2 million weights a token, spread over half as many pairs as tokens.
        Assert.That(perPair, Is.EqualTo(4992 + (4 * 4.2e6 / Tokens)).Within(1));
    }

    [Test]
    public void Flops_OfOneToken_AreTheLinearLayersOnePairAndTheLogits()
    {
        const double Attention = (512 * 160) + (160 * 640) + (512 * 192) + (160 * 4 * 176) + (192 * 512);
        const double Dense = 3 * 512 * 256;
        const double Experts = (3 * 512 * 256 * 3) + (512 * 8);

        var flops = PrefillWork.Flops(NeedleModel.Config, 1);

        Assert.That(flops, Is.EqualTo((2 * ((3 * Attention) + Dense + (2 * Experts))) + 4992 + (2 * 512 * 320)));
    }
}
