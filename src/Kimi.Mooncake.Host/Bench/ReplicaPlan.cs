namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench replicas</c> does.</summary>
internal sealed record ReplicaPlan
{
    /// <summary>Documents that are asked about.</summary>
    public required int Documents { get; init; }

    /// <summary>Tokens of each document.</summary>
    public required int DocumentTokens { get; init; }

    /// <summary>Requests per second, evenly.</summary>
    public required double RequestsPerSecond { get; init; }

    /// <summary>Seconds before the measurement, in which documents become hot.</summary>
    public required int WarmSeconds { get; init; }

    /// <summary>Seconds that are measured before a store node is lost.</summary>
    public required int BeforeSeconds { get; init; }

    /// <summary>Seconds that are measured afterwards.</summary>
    public required int AfterSeconds { get; init; }

    /// <summary>Longest time of one request; then it counts as stuck.</summary>
    public required int RequestSecondsMax { get; init; }

    /// <summary>Makes documents, questions, and which store node is lost when.</summary>
    public required int Seed { get; init; }
}
