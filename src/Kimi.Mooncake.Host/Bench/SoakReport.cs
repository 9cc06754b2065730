using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench soak</c> found.</summary>
internal sealed record SoakReport
{
    public required int Clients { get; init; }

    public required int Requests { get; init; }

    public required int Seed { get; init; }

    /// <summary>Requests that were answered to the end.</summary>
    public required int Finished { get; init; }

    /// <summary>Requests that the client broke off on purpose.</summary>
    public required int Disconnected { get; init; }

    public required int AnswersRight { get; init; }

    public required int AnswersWrong { get; init; }

    /// <summary>Requests that the server refused or broke off.</summary>
    public required int Failed { get; init; }

    /// <summary>Requests that were not over in time.</summary>
    public required int Stuck { get; init; }

    /// <summary>The first of what went wrong.</summary>
    public required IReadOnlyList<string> Faults { get; init; }

    /// <summary>Whether <c>/health</c> and <c>/metrics</c> say that nothing waits, runs or holds a block.</summary>
    public required bool PoolEmpty { get; init; }

    public required ServerLoad LoadAfterwards { get; init; }

    public required double TtftP50S { get; init; }

    public required double TtftP95S { get; init; }

    public required double DurationS { get; init; }

    public required double RequestsPerS { get; init; }

    public required long PeakRssBytes { get; init; }

    public bool IsGood => AnswersWrong == 0 && Failed == 0 && Stuck == 0 && PoolEmpty;
}
