namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench scale</c> found.</summary>
internal sealed record ScaleReport
{
    /// <summary>Decode workers that were added under load.</summary>
    public required IReadOnlyList<string> Added { get; init; }

    /// <summary>The prefill worker that was drained under load.</summary>
    public required string Drained { get; init; }

    /// <summary>When the new workers could be used, in seconds from the start.</summary>
    public required double AddedAtS { get; init; }

    /// <summary>When the prefill worker was drained, in seconds from the start.</summary>
    public required double DrainedAtS { get; init; }

    /// <summary>Answers per second until the new workers could be used.</summary>
    public required double RequestsPerSBefore { get; init; }

    /// <summary>Answers per second from the drain to the end.</summary>
    public required double RequestsPerSAfter { get; init; }

    /// <summary>Generated tokens per second until the new workers could be used.</summary>
    public required double CompletionTokensPerSBefore { get; init; }

    /// <summary>Generated tokens per second from the drain to the end.</summary>
    public required double CompletionTokensPerSAfter { get; init; }

    /// <summary>Tokens that the new workers generated.</summary>
    public required long TokensOfAdded { get; init; }

    /// <summary>The conversations as a whole.</summary>
    public required ServeReport Serve { get; init; }

    public bool IsGood => Serve.IsGood && TokensOfAdded > 0;
}
