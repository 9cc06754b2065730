namespace Kimi.Mooncake.Host.Bench;

/// <summary>Hand-overs of prompts of one length, medians over the rounds.</summary>
internal sealed record HandOverFigures
{
    public required int PromptTokens { get; init; }

    /// <summary>KV that was handed over.</summary>
    public required long Bytes { get; init; }

    /// <summary>From the request to the end of the prefill, with overlap.</summary>
    public required double PrefillS { get; init; }

    /// <summary>
    /// From the end of the prefill to the decode worker's first token, layers sent as they are computed.
    /// </summary>
    public required double OverlappedS { get; init; }

    /// <summary>The same, everything sent after the prefill.</summary>
    public required double AfterwardsS { get; init; }

    /// <summary>What overlapping leaves of the hand-over.</summary>
    public double Share => OverlappedS / AfterwardsS;
}

/// <summary>What <c>mooncake bench handover</c> found.</summary>
internal sealed record HandOverReport
{
    /// <summary>Whether KV went through shared memory; otherwise through gRPC.</summary>
    public required bool SharedMemory { get; init; }

    public required int Rounds { get; init; }

    public required IReadOnlyList<HandOverFigures> Lengths { get; init; }
}
