using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Models.Tests.Needle;

/// <summary>Properties that the construction rests on, checked without any reference file.</summary>
[TestFixture]
internal sealed class NeedleConstructionTests
{
    private const int CodedBytes = 240;

    [Test]
    public void ByteCodes_AllPairs_AreFarApart()
    {
        var codes = TokenCodes.OfBytes.Where(code => Dot(code, code) != 0).ToArray();

        Assert.That(codes, Has.Length.EqualTo(CodedBytes));
        for (var i = 0; i < codes.Length; i++)
        {
            Assert.That(Dot(codes[i], codes[i]), Is.EqualTo(2));
            Assert.That(codes.Where((_, j) => j != i).Max(other => Dot(codes[i], other)), Is.LessThanOrEqualTo(1));
        }
    }

    [Test]
    public void ByteCodes_PrintableAscii_AreOrthogonalToTheNewline()
    {
        for (var value = 0x20; value < 0x7f; value++)
        {
            Assert.That(Dot(TokenCodes.OfBytes[value], TokenCodes.OfBytes['\n']), Is.Zero, $"byte {value}");
        }
    }

    [Test]
    public void ClassTurn_EveryClass_MapsCodesToCodes([Range(0, 6)] int number)
    {
        var turn = TokenCodes.ClassTurn(number);
        var codes = TokenCodes.OfBytes.Where(code => Dot(code, code) != 0).ToArray();
        var texts = codes.Select(code => string.Join(' ', code)).ToHashSet();

        foreach (var code in codes)
        {
            // Adding zero makes the sign of a zero the same everywhere.
            var turned = Enumerable.Range(0, 8)
                .Select(row => Enumerable.Range(0, 8).Sum(n => turn[row, n] * code[n]) + 0.0);
            Assert.That(texts, Does.Contain(string.Join(' ', turned)));
        }
    }

    [Test]
    public void WindowWeights_Squared_SumToOne() =>
        Assert.That(WindowHash.Weights.Sum(weight => weight * weight), Is.EqualTo(1).Within(1e-12));

    [Test]
    public void Embedding_EveryToken_HasTheSameLength()
    {
        var embedding = TokenWeights.BuildEmbedding();

        for (var token = 0; token < embedding.Rows; token++)
        {
            var energy = Enumerable.Range(0, embedding.Columns).Sum(slot => Math.Pow(embedding[token, slot], 2));
            Assert.That(energy, Is.EqualTo(NeedleShape.EmbeddingEnergy).Within(1e-9), $"token {token}");
        }
    }

    [Test]
    public void Shift_EveryOtherDistance_LosesAtLeast23Nats([Values(1, 4, 5, 20)] int distance)
    {
        // Arrange
        var query = PositionKernel.Query(PositionKernel.Shift, distance);
        double Score(int at) => PositionKernel.Frequencies.Select((frequency, i) =>
            NeedleShape.AttentionScale * PositionKernel.KeyLevel
            * ((query[2 * i] * Math.Cos(frequency * at)) - (query[(2 * i) + 1] * Math.Sin(frequency * at)))).Sum();

        // Act
        var best = Score(distance);
        var second = Enumerable.Range(0, NeedleModel.Config.ContextLength).Where(at => at != distance).Max(Score);

        // Assert
        Assert.That(best - second, Is.GreaterThan(23));
    }

    [Test]
    public void Vocabulary_Tokens_AreDistinctAndComplete()
    {
        Assert.That(NeedleVocabulary.Tokens, Has.Length.EqualTo(NeedleVocabulary.Size));
        Assert.That(NeedleVocabulary.Tokens, Is.Unique);
        Assert.That(NeedleVocabulary.Tokens['A'], Is.EqualTo("A"));
        Assert.That(NeedleVocabulary.Tokens[' '], Is.EqualTo("\u0120"));
        Assert.That(NeedleVocabulary.IdOf(NeedleVocabulary.MessageEnd), Is.EqualTo(258));
        Assert.That(NeedleVocabulary.IdOf(NeedleVocabulary.ThinkEnd), Is.EqualTo(276));
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
