namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench replicas</c> found.</summary>
internal sealed record ReplicaReport
{
    /// <summary>Points below the hit rate before the loss at which it counts as recovered.</summary>
    public const double RecoveredWithin = 0.02;

    /// <summary>Longest time to recovery that is good.</summary>
    public const int RecoverySecondsMax = 30;

    public required int Documents { get; init; }

    public required int DocumentTokens { get; init; }

    public required int Seed { get; init; }

    /// <summary>The store node that was killed.</summary>
    public required string Lost { get; init; }

    /// <summary>Blocks that it was known to keep.</summary>
    public required ulong LostBlocks { get; init; }

    /// <summary>When, in seconds from the start of the measurement.</summary>
    public required double LostAtS { get; init; }

    public required int Answered { get; init; }

    public required int AnswersWrong { get; init; }

    /// <summary>Requests that ended with an error.</summary>
    public required int Failed { get; init; }

    /// <summary>Requests that did not end in time.</summary>
    public required int Stuck { get; init; }

    public required IReadOnlyList<string> Faults { get; init; }

    /// <summary>Cached share of the prompt tokens before the loss.</summary>
    public required double HitRateBefore { get; init; }

    /// <summary>Lowest share of three seconds after it.</summary>
    public required double HitRateLowest { get; init; }

    /// <summary>Share of the last seconds.</summary>
    public required double HitRateEnd { get; init; }

    /// <summary>Seconds until the share stays within two points of that before; null when it does not.</summary>
    public required int? RecoveredAfterS { get; init; }

    /// <summary>Share of each second.</summary>
    public required IReadOnlyList<double> HitRatePerSecond { get; init; }

    public required double TtftP50BeforeS { get; init; }

    public required double TtftP50AfterS { get; init; }

    /// <summary>Orders to copy blocks from one store node to another.</summary>
    public required long ReplicaOrders { get; init; }

    /// <summary>Of these, after the loss for blocks that had their replicas before.</summary>
    public required long Restorations { get; init; }

    /// <summary>Blocks that these orders copied.</summary>
    public required long BlocksCopied { get; init; }

    /// <summary>Times that a worker turned to another replica.</summary>
    public required long Failovers { get; init; }

    /// <summary>Times that a worker asked another replica before one had answered.</summary>
    public required long Hedges { get; init; }

    public bool IsGood => Failed == 0 && Stuck == 0 && AnswersWrong == 0 && Answered > 0
        && RecoveredAfterS is <= RecoverySecondsMax;
}
