using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>One request of the benchmark.</summary>
internal sealed record BenchRequest
{
    /// <summary><c>cold</c>, <c>warm</c> or <c>restart</c>.</summary>
    public required string Name { get; init; }

    public required string Question { get; init; }

    public required string ExpectedCompletion { get; init; }

    public required bool IsRight { get; init; }

    public required double TtftS { get; init; }

    public required double TotalS { get; init; }

    public required int PromptTokens { get; init; }

    public required int CachedTokens { get; init; }

    public required int PrefillTokensComputed { get; init; }

    public required int CompletionTokens { get; init; }

    public required string Answer { get; init; }

    public static BenchRequest Of(string name, NeedleFact fact, AskResult result) => new()
    {
        Name = name,
        Question = fact.Question,
        ExpectedCompletion = fact.Answer,
        IsRight = result.Completion == fact.Answer,
        TtftS = result.TtftS,
        TotalS = result.TotalS,
        PromptTokens = result.PromptTokens,
        CachedTokens = result.CachedTokens,
        PrefillTokensComputed = result.PrefillTokensComputed,
        CompletionTokens = result.CompletionTokens,
        Answer = result.Answer,
    };
}

/// <summary>What <c>mooncake bench longdoc</c> found.</summary>
internal sealed record LongDocumentReport
{
    public required int DocumentTokens { get; init; }

    public required int Seed { get; init; }

    /// <summary>The three questions to the first server: one cold, two warm.</summary>
    public required IReadOnlyList<BenchRequest> Requests { get; init; }

    /// <summary>How many of <see cref="Requests"/> were answered right.</summary>
    public required int AnswersRight { get; init; }

    /// <summary>The question to the second server, after <c>kill -9</c>.</summary>
    public required BenchRequest Restart { get; init; }

    /// <summary>Tokens in whole blocks that the prompts of all requests begin with.</summary>
    public required int SharedPrefixBlockTokens { get; init; }

    /// <summary>Whether every warm request found all of <see cref="SharedPrefixBlockTokens"/>.</summary>
    public required bool WarmHitsComplete { get; init; }

    /// <summary>Slowest warm TTFT over the cold TTFT.</summary>
    public required double WarmOverCold { get; init; }

    /// <summary>Share of <see cref="SharedPrefixBlockTokens"/> that was found again after the restart.</summary>
    public required double RestartCachedShare { get; init; }

    /// <summary>Most memory that any of the servers had in use.</summary>
    public required long PeakRssBytes { get; init; }

    /// <summary>Computed tokens of the cold request over its TTFT.</summary>
    public required double PrefillTokensPerS { get; init; }
}
