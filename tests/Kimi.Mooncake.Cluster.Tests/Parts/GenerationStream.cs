using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>A request's events, all of them.</summary>
internal static class GenerationStream
{
    public static GenerationRequest Request(int tokens, bool sampled, int prompt = 100) => new()
    {
        RequestId = "request",
        PromptTokens = [.. Enumerable.Range(1, prompt)],
        MaxNewTokens = tokens,
        Sampling = sampled ? new SamplingParameters { Seed = 7, Logprobs = true, TopLogprobs = 2 }
            : SamplingParameters.Greedy,
    };

    public static async Task<List<GenerationEvent>> Start(
        ITokenGenerator generator, GenerationRequest request, CancellationToken cancellationToken = default)
    {
        using var patience = new CancellationTokenSource(Eventually.Patience);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        var events = new List<GenerationEvent>();
        await foreach (var next in generator.GenerateAsync(request, either.Token))
        {
            events.Add(next);
        }

        return events;
    }

    /// <summary>What one worker that does not fail would say.</summary>
    public static string[] Undisturbed(GenerationRequest request) => Text(
    [
        new PrefillFinished(request.PromptTokens.Count, 0),
        .. Enumerable.Range(0, request.MaxNewTokens).Select(place => SimulatedWorker.Token(request, place)),
        new GenerationFinished(FinishReason.Length),
    ]);

    public static string[] Text(IEnumerable<GenerationEvent> events) => [.. events.Select(
        e => e is TokenGenerated t ? $"{t.TokenId} {t.Logprob} {string.Join(';', t.TopLogprobs)}" : e.ToString())];
}
