namespace Kimi.Mooncake.Host.Chaos;

/// <summary>What <c>mooncake chaos</c> is to do.</summary>
internal sealed record ChaosPlan
{
    /// <summary>Makes the schedule of faults, the documents and what the clients do.</summary>
    public required int Seed { get; init; }

    /// <summary>Time in which faults happen.</summary>
    public required TimeSpan Duration { get; init; }

    /// <summary>Clients that ask all the time.</summary>
    public int Clients { get; init; } = 8;

    /// <summary>Share of the requests that their client breaks off, 0 to 1.</summary>
    public double AbortShare { get; init; } = 0.15;

    /// <summary>Time in which every request must have ended.</summary>
    public TimeSpan RequestTimeMax { get; init; } = TimeSpan.FromSeconds(90);

    /// <summary>Tokens of the largest document; the smallest is a quarter of it.</summary>
    public int DocumentTokensMax { get; init; } = 4096;
}
