namespace Kimi.Mooncake.Host.Bench;

/// <summary>One way of moving the bytes; medians over the rounds.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="GigabytesPerSecond">10^9 bytes per second.</param>
/// <param name="SlowestGigabytesPerSecond">Of the slowest round.</param>
/// <param name="SentAllocatedBytesPerFrame">Managed memory that the sending process took, libraries included.</param>
/// <param name="ReceivedAllocatedBytesPerFrame">Managed memory that the receiving process took.</param>
/// <param name="ProcessorSecondsPerGigabyte">Time of both processes on all processors; 0 where it was not
/// taken.</param>
internal sealed record TransferRow(
    string Name, double GigabytesPerSecond, double SlowestGigabytesPerSecond, double SentAllocatedBytesPerFrame,
    double ReceivedAllocatedBytesPerFrame, double ProcessorSecondsPerGigabyte);

/// <summary>What <c>mooncake bench transfer</c> found.</summary>
internal sealed record TransferReport
{
    public required long Bytes { get; init; }

    public required int FrameBytes { get; init; }

    public required int Rounds { get; init; }

    public required IReadOnlyList<TransferRow> Rows { get; init; }

    /// <summary>Wanted: at least 2.</summary>
    public required double GrpcOverNaive { get; init; }

    /// <summary>Wanted: at least 0.4.</summary>
    public required double GrpcOverTcp { get; init; }

    /// <summary>The product's own framing over TCP, with checksums, over plain TCP.</summary>
    public required double FramesOverTcpOverTcp { get; init; }

    /// <summary>Wanted: at least 0.5.</summary>
    public required double SharedMemoryOverMemcpy { get; init; }
}
