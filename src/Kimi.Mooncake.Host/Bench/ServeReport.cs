namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench serve</c> found.</summary>
internal sealed record ServeReport
{
    public required int Conversations { get; init; }

    public required int Turns { get; init; }

    public required int Documents { get; init; }

    public required int DocumentTokens { get; init; }

    public required int Seed { get; init; }

    /// <summary>Requests that were answered to the end.</summary>
    public required int Answered { get; init; }

    public required int AnswersRight { get; init; }

    public required int AnswersWrong { get; init; }

    /// <summary>Requests that the server refused or broke off.</summary>
    public required int Failed { get; init; }

    /// <summary>Requests that were not over in time.</summary>
    public required int Stuck { get; init; }

    /// <summary>The first of what went wrong.</summary>
    public required IReadOnlyList<string> Faults { get; init; }

    public required double DurationS { get; init; }

    public required Distribution TtftS { get; init; }

    /// <summary>TTFT of first questions, which bring a document along.</summary>
    public required Distribution TtftFirstTurnS { get; init; }

    /// <summary>TTFT of further questions.</summary>
    public required Distribution TtftLaterTurnsS { get; init; }

    /// <summary>Times between one piece of text and the next, over all requests.</summary>
    public required Distribution TbtS { get; init; }

    public required Distribution E2eS { get; init; }

    public required double RequestsPerS { get; init; }

    public required double CompletionTokensPerS { get; init; }

    /// <summary>Right answers within both limits, for each second of the run.</summary>
    public required double GoodputRequestsPerS { get; init; }

    public required string GoodputDefinition { get; init; }

    public required long PromptTokens { get; init; }

    public required long CachedTokens { get; init; }

    /// <summary>Prompt tokens that <c>usage</c> says were computed: prompt less cached, over all requests.</summary>
    public required long PrefillTokensReported { get; init; }

    /// <summary>Prompt tokens that the workers counted while computing them.</summary>
    public required long PrefillTokensCounted { get; init; }

    /// <summary>Whether <c>cached_tokens</c> is true: the two figures are equal.</summary>
    public required bool CachedTokensTrue { get; init; }

    /// <summary>Generated tokens that the workers computed again as prompt tokens, for the next turn.</summary>
    public required long SettledTokens { get; init; }

    /// <summary>Whether nothing waits, runs or holds a block afterwards.</summary>
    public required bool PoolsEmpty { get; init; }

    /// <summary>What was left where the pools are not empty.</summary>
    public required IReadOnlyList<string> Left { get; init; }

    /// <summary>The same conversations with another server; null where none was named.</summary>
    public ServeComparison? Comparison { get; init; }

    public bool IsGood => AnswersWrong == 0 && Failed == 0 && Stuck == 0 && CachedTokensTrue && PoolsEmpty
        && Comparison is not { IsEqual: false };
}

/// <summary>Two runs of the same conversations, against each other.</summary>
internal sealed record ServeComparison
{
    /// <summary>The other server.</summary>
    public required string With { get; init; }

    /// <summary>Answers that are the same, byte for byte.</summary>
    public required int AnswersEqual { get; init; }

    /// <summary>Answers that differ, or that only one of the two gave.</summary>
    public required int AnswersDifferent { get; init; }

    /// <summary>The first of those.</summary>
    public required IReadOnlyList<string> Differences { get; init; }

    /// <summary>What the other server made of the conversations.</summary>
    public required ServeReport Other { get; init; }

    public bool IsEqual => AnswersDifferent == 0;
}
