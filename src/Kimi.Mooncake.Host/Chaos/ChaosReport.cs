using Kimi.Mooncake.Host.Bench;

namespace Kimi.Mooncake.Host.Chaos;

/// <summary>What <c>mooncake chaos</c> found.</summary>
internal sealed record ChaosReport
{
    public required int Seed { get; init; }

    public required double DurationS { get; init; }

    public required IReadOnlyList<Fault> Schedule { get; init; }

    /// <summary>Faults that this machine does not allow, with the reason.</summary>
    public required IReadOnlyList<string> NotPossible { get; init; }

    public required int Requests { get; init; }

    public required int AnswersRight { get; init; }

    /// <summary>Requests that their client broke off on purpose.</summary>
    public required int Aborted { get; init; }

    /// <summary>Requests that ended with an error that says so, by status or kind.</summary>
    public required IReadOnlyDictionary<string, int> CleanErrors { get; init; }

    /// <summary>Answers, or parts of answers, with a byte that is not right.</summary>
    public required int AnswersWrong { get; init; }

    /// <summary>Requests whose connection broke, or whose stream ended without an end.</summary>
    public required int Broken { get; init; }

    /// <summary>Requests that were not over in time.</summary>
    public required int Stuck { get; init; }

    /// <summary>The first of what went wrong.</summary>
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>Processes that ended although nobody ended them.</summary>
    public required IReadOnlyList<string> Died { get; init; }

    public required Distribution E2eS { get; init; }

    /// <summary>Whether nothing waits, runs or holds a block within 30 seconds after the last request.</summary>
    public required bool PoolsEmpty { get; init; }

    /// <summary>What was left where the pools are not empty.</summary>
    public required IReadOnlyList<string> Left { get; init; }

    /// <summary>Whether a new request succeeds afterwards.</summary>
    public required bool WorksAfterwards { get; init; }

    public bool IsGood => AnswersWrong == 0 && Broken == 0 && Stuck == 0 && Died.Count == 0 && PoolsEmpty
        && WorksAfterwards && AnswersRight > 0;
}
