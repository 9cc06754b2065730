using Kimi.Mooncake.Core;
using Kimi.Mooncake.Models.Sampling;

namespace Kimi.Mooncake.Models.Tests.Sampling;

[TestFixture]
internal sealed class SamplerLogprobTests
{
    private static readonly float[] Logits = [2.5f, -1, 0.25f, 2.5f, -40, 7];

    [Test]
    public void Sample_Logprobs_SumToOne()
    {
        var sum = 0.0;
        for (var token = 0; token < Logits.Length; token++)
        {
            // A bias makes each token the greedy one in turn; log-probabilities ignore it.
            var parameters = SamplingParameters.Greedy with { Logprobs = true, LogitBias = [new(token, 100)] };
            var chosen = new Sampler(Logits.Length).Sample(Logits, parameters, [], 0, 0, [], out var logprob);
            Assert.That(chosen, Is.EqualTo(token));
            sum += Math.Exp(logprob);
        }

        Assert.That(sum, Is.EqualTo(1).Within(1e-6));
    }

    [Test]
    public void Sample_TopLogprobs_AreTheBestInOrder()
    {
        var top = new TokenLogprob[4];
        var parameters = SamplingParameters.Greedy with { Logprobs = true, TopLogprobs = 4 };

        var token = new Sampler(Logits.Length).Sample(Logits, parameters, [], 0, 0, top, out var logprob);

        var normalizer = Math.Log(Logits.Sum(logit => Math.Exp(logit)));
        Assert.That(token, Is.EqualTo(5));
        Assert.That(logprob, Is.EqualTo(top[0].Logprob));
        Assert.That(top.Select(entry => entry.TokenId), Is.EqualTo((int[])[5, 0, 3, 2]));
        foreach (var (id, value) in top)
        {
            Assert.That(value, Is.EqualTo(Logits[id] - normalizer).Within(1e-5), $"token {id}");
        }
    }

    [Test]
    public void Sample_TemperatureAndPenalties_DoNotChangeLogprobs()
    {
        var plain = new TokenLogprob[3];
        var changed = new TokenLogprob[3];
        var parameters = new SamplingParameters
        {
            Temperature = 2,
            TopK = 1,
            PresencePenalty = 2,
            RepetitionPenalty = 5,
            Logprobs = true,
        };

        new Sampler(Logits.Length).Sample(Logits, SamplingParameters.Greedy, [], 0, 0, plain, out _);
        new Sampler(Logits.Length).Sample(Logits, parameters, [5, 5], 1, 2, changed, out _);

        Assert.That(changed, Is.EqualTo(plain));
    }

    [Test]
    public void Sample_LogprobsNotWanted_GivesZero()
    {
        new Sampler(Logits.Length).Sample(Logits, SamplingParameters.Greedy, [], 0, 0, [], out var logprob);

        Assert.That(logprob, Is.Zero);
    }

    [Test]
    public void Sample_HugeLogits_KeepTheirLogprobs()
    {
        var parameters = SamplingParameters.Greedy with { Logprobs = true };
        var top = new TokenLogprob[2];

        new Sampler(2).Sample([1e30f, 1e30f], parameters, [], 0, 0, top, out var logprob);

        Assert.That(logprob, Is.EqualTo(-Math.Log(2)).Within(1e-6));
        Assert.That(top.Select(entry => entry.TokenId), Is.EqualTo((int[])[0, 1]));
    }
}
