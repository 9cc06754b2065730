namespace Kimi.Mooncake.Worker;

/// <summary>Why a prompt that another worker was to compute did not come.</summary>
internal enum ImportFailure
{
    /// <summary>The worker could not be reached, refused, or failed.</summary>
    Refused,

    /// <summary>It took longer than it may.</summary>
    Deadline,

    /// <summary>It sent what it may not, or less than it said.</summary>
    Protocol,
}

/// <summary>What hand-overs of one worker came to. Safe for concurrent use.</summary>
internal sealed class HandOverCounters
{
    private readonly Lock _lock = new();
    private readonly long[] _failures = new long[Enum.GetValues<ImportFailure>().Length];
    private long _exports;
    private long _bytesSent;
    private TimeSpan _total;
    private long _imports;
    private long _bytesReceived;
    private double _bytesPerSecond;

    /// <summary>
    /// What a transfer to this worker reached lately; 0 before the first that did not wait for its prefill.
    /// </summary>
    public double BytesPerSecond => Volatile.Read(ref _bytesPerSecond);

    /// <summary>What overlapping did not hide of each hand-over.</summary>
    public Histogram Tail { get; } = new();

    public void Exported(in HandOverTimes times)
    {
        Tail.Add(times.Tail);
        lock (_lock)
        {
            _exports++;
            _bytesSent += times.Bytes;
            _total += times.Total;
        }
    }

    /// <summary>A prompt has arrived.</summary>
    /// <param name="times">Its bytes, and times as its sender took them.</param>
    public void Imported(in HandOverTimes times)
    {
        lock (_lock)
        {
            _imports++;
            _bytesReceived += times.Bytes;
            // Where most of the time came after the prefill, it was the transfer that took it.
            if (times.Total > TimeSpan.Zero && times.Tail > times.Total / 2)
            {
                Volatile.Write(ref _bytesPerSecond, times.Bytes / times.Total.TotalSeconds);
            }
        }
    }

    public void ImportFailed(ImportFailure failure)
    {
        lock (_lock)
        {
            _failures[(int)failure]++;
        }
    }

    public HandOverSnapshot Snapshot()
    {
        lock (_lock)
        {
            return new HandOverSnapshot(
                _exports, _bytesSent, _total.TotalSeconds, _imports, _bytesReceived, [.. _failures]);
        }
    }
}

/// <summary>Hand-overs up to one moment.</summary>
/// <param name="Exports">Prompts computed for others.</param>
/// <param name="BytesSent">Their KV.</param>
/// <param name="TotalSeconds">Time from the first frame to the last acknowledgement, over all.</param>
/// <param name="Imports">Prompts computed by others.</param>
/// <param name="BytesReceived">Their KV.</param>
/// <param name="Failures">Imports that failed, by <see cref="ImportFailure"/>.</param>
internal sealed record HandOverSnapshot(
    long Exports, long BytesSent, double TotalSeconds, long Imports, long BytesReceived, IReadOnlyList<long> Failures);
