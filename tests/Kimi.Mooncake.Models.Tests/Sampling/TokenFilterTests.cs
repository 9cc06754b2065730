using Kimi.Mooncake.Models.Sampling;

namespace Kimi.Mooncake.Models.Tests.Sampling;

[TestFixture]
internal sealed class TokenFilterTests
{
    /// <summary>Probabilities of tokens 0 to 5, not in order.</summary>
    private static readonly double[] Probabilities = [0.05, 0.4, 0.1, 0.25, 0.04, 0.16];

    [TestCase(0, 1f, 0f, new[] { 0, 1, 2, 3, 4, 5 })]
    [TestCase(6, 1f, 0f, new[] { 0, 1, 2, 3, 4, 5 })]
    [TestCase(1000, 1f, 0f, new[] { 0, 1, 2, 3, 4, 5 })]
    [TestCase(1, 1f, 0f, new[] { 1 })]
    [TestCase(3, 1f, 0f, new[] { 1, 3, 5 })]
    [TestCase(5, 1f, 0f, new[] { 0, 1, 2, 3, 5 })]
    [TestCase(0, 1e-30f, 0f, new[] { 1 })]
    [TestCase(0, 0.39f, 0f, new[] { 1 })]
    [TestCase(0, 0.41f, 0f, new[] { 1, 3 })]
    [TestCase(0, 0.66f, 0f, new[] { 1, 3, 5 })]
    [TestCase(0, 0.95f, 0f, new[] { 0, 1, 2, 3, 5 })]
    [TestCase(0, 0.97f, 0f, new[] { 0, 1, 2, 3, 4, 5 })]
    [TestCase(0, 1f, 1f, new[] { 1 })]
    [TestCase(0, 1f, 0.6f, new[] { 1, 3 })]
    [TestCase(0, 1f, 0.11f, new[] { 0, 1, 2, 3, 5 })]
    [TestCase(0, 0.8f, 0.5f, new[] { 1, 3 })]
    [TestCase(0, 0.41f, 0.2f, new[] { 1, 3 })]
    [TestCase(4, 1f, 0.3f, new[] { 1, 3, 5 })]
    [TestCase(2, 0.61f, 0f, new[] { 1 }, Description = "0.4 of the 0.65 that top-k keeps is more than 0.61")]
    [TestCase(2, 0.63f, 0f, new[] { 1, 3 })]
    public void Keep_HandMadeProbabilities_KeepsExactly(int topK, float topP, float minP, int[] expected) =>
        Assert.That(Kept(Logits(Probabilities), topK, topP, minP), Is.EqualTo(expected));

    [TestCase(1, new[] { 1 })]
    [TestCase(2, new[] { 1, 2 })]
    [TestCase(3, new[] { 1, 2, 4 })]
    [TestCase(4, new[] { 0, 1, 2, 4 })]
    public void Keep_TopKTies_KeepsLowerIds(int topK, int[] expected) =>
        Assert.That(Kept([1, 2, 2, 1, 2], topK, 1, 0), Is.EqualTo(expected));

    [Test]
    public void Keep_TopPTies_KeepsLowerIds() =>
        Assert.That(Kept([1, 1, 1, 1], 0, 0.4f, 0), Is.EqualTo((int[])[0, 1]));

    [Test]
    public void Keep_MinPOfOne_KeepsAllThatTieAtTheTop([Values(1, 7, 8, 33, 100)] int size)
    {
        for (var best = 0; best < size; best++)
        {
            var logits = Enumerable.Range(0, size).Select(i => i == best ? 3.3f : 1f).ToArray();
            Assert.That(Kept(logits, 0, 1, 1), Is.EqualTo((int[])[best]));
        }
    }

    [Test]
    public void Keep_Temperature_ChangesWhatTopPKeeps()
    {
        var filter = new TokenFilter(6);

        Assert.That(Sorted(filter.Keep(Logits(Probabilities), 0.25f, 0, 0.66f, 0)), Is.EqualTo((int[])[1]));
        Assert.That(Sorted(filter.Keep(Logits(Probabilities), 4f, 0, 0.66f, 0)), Is.EqualTo((int[])[1, 2, 3, 5]));
    }

    [Test]
    public void Keep_RandomLogits_EqualsFullSort([Range(1, 40)] int seed)
    {
        // Arrange: few distinct values, so that ties are common.
        var random = new Random(seed);
        var size = random.Next(1, 3000);
        var levels = random.Next(1, 400);
        var spread = random.NextSingle() * 10;
        var logits = Enumerable.Range(0, size).Select(_ => random.Next(levels) * spread / levels).ToArray();
        var topK = random.Next(3) == 0 ? 0 : random.Next(1, size + 5);
        var topP = random.Next(3) == 0 ? 1 : (random.NextSingle() * 0.98f) + 0.01f;
        var minP = random.Next(3) == 0 ? 0 : random.NextSingle() * 0.3f;

        // Act
        var kept = Kept(logits, topK, topP, minP);

        // Assert
        var expected = ByFullSort(logits, topK, topP, minP);
        Assert.That(kept, Is.EqualTo(expected), $"seed {seed}: size {size}, k {topK}, p {topP}, min {minP}");
    }

    private static int[] ByFullSort(float[] logits, int topK, float topP, float minP)
    {
        var filter = new TokenFilter(logits.Length);
        filter.Keep(logits, 1, 0, 1, 0);
        var weights = filter.Weights.ToArray();
        var ranked = Enumerable.Range(0, logits.Length).OrderByDescending(token => logits[token]).ToList();
        ranked = [.. ranked.Take(topK == 0 ? logits.Length : topK)];
        var mass = ranked.Sum(token => (double)weights[token]);
        var sum = 0.0;
        var kept = new List<int>();
        foreach (var token in ranked)
        {
            if (topP < 1 && sum >= topP * mass)
            {
                break;
            }

            sum += weights[token];
            kept.Add(token);
        }

        return [.. kept.Where(token => weights[token] >= minP).Order()];
    }

    private static float[] Logits(double[] probabilities) =>
        [.. probabilities.Select(probability => (float)Math.Log(probability))];

    private static int[] Kept(float[] logits, int topK, float topP, float minP) =>
        Sorted(new TokenFilter(logits.Length).Keep(logits, 1, topK, topP, minP));

    private static int[] Sorted(ReadOnlySpan<ulong> keys) => [.. keys.ToArray().Select(RankKey.Token).Order()];
}
