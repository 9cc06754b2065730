using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Why blocks did not come from, or go to, another process.</summary>
internal enum PeerFailure
{
    /// <summary>It cannot be reached, or went away.</summary>
    Unreachable,

    /// <summary>It did not answer in time.</summary>
    TimedOut,

    /// <summary>It answered that it does not do this, or not now.</summary>
    Refused,

    /// <summary>It does not have what it was said to have.</summary>
    Missing,
}

/// <summary>What moved between this process and others, and what did not. Any thread may add.</summary>
internal sealed class BlockTraffic
{
    private readonly long[] _failures = new long[Enum.GetValues<PeerFailure>().Length];
    private long _localBlocks;
    private long _peerBlocks;
    private long _storeNodeBlocks;
    private long _pulledBytes;
    private long _putBlocks;
    private long _putBytes;
    private long _putsSkippedBlocks;
    private long _retainedBlocks;
    private long _retainSkippedBlocks;
    private long _sentPoolBlocks;
    private long _sentStoreBlocks;
    private long _sentBytes;
    private long _takenBlocks;
    private long _takenBytes;
    private long _putsExpired;
    private long _pullsRefused;
    private long _answers;
    private long _answerTicks;
    private long _failovers;
    private long _hedges;
    private long _copiedBlocks;
    private long _copiesFailed;

    public long PulledBlocks => Interlocked.Read(ref _peerBlocks) + Interlocked.Read(ref _storeNodeBlocks);

    public long PulledBytes => Interlocked.Read(ref _pulledBytes);

    public long PutBlocks => Interlocked.Read(ref _putBlocks);

    public long Failovers => Interlocked.Read(ref _failovers);

    public long Hedges => Interlocked.Read(ref _hedges);

    public long PutsExpired => Interlocked.Read(ref _putsExpired);

    public long Failures(PeerFailure reason) => Interlocked.Read(ref _failures[(int)reason]);

    public void AddLocal(int blocks) => Interlocked.Add(ref _localBlocks, blocks);

    public void AddPulled(int blocks, long bytes, bool fromStoreNode)
    {
        Interlocked.Add(ref fromStoreNode ? ref _storeNodeBlocks : ref _peerBlocks, blocks);
        Interlocked.Add(ref _pulledBytes, bytes);
    }

    public void AddPut(int blocks, long bytes)
    {
        Interlocked.Add(ref _putBlocks, blocks);
        Interlocked.Add(ref _putBytes, bytes);
    }

    public void AddPutSkipped(int blocks) => Interlocked.Add(ref _putsSkippedBlocks, blocks);

    public void AddRetained(int blocks) => Interlocked.Add(ref _retainedBlocks, blocks);

    public void AddRetainSkipped(int blocks) => Interlocked.Add(ref _retainSkippedBlocks, blocks);

    public void AddFailure(PeerFailure reason) => Interlocked.Increment(ref _failures[(int)reason]);

    public void AddSent(int blocks, long bytes, bool fromPool)
    {
        Interlocked.Add(ref fromPool ? ref _sentPoolBlocks : ref _sentStoreBlocks, blocks);
        Interlocked.Add(ref _sentBytes, bytes);
    }

    public void AddTaken(int blocks, long bytes)
    {
        Interlocked.Add(ref _takenBlocks, blocks);
        Interlocked.Add(ref _takenBytes, bytes);
    }

    public void AddPutExpired() => Interlocked.Increment(ref _putsExpired);

    /// <summary>A store node said what it has.</summary>
    public void AddAnswer(TimeSpan taken)
    {
        Interlocked.Increment(ref _answers);
        Interlocked.Add(ref _answerTicks, taken.Ticks);
    }

    /// <summary>Another replica was asked because one failed, was too slow or lacked the blocks.</summary>
    public void AddFailover() => Interlocked.Increment(ref _failovers);

    /// <summary>Another replica was asked while one had not answered.</summary>
    public void AddHedge() => Interlocked.Increment(ref _hedges);

    /// <summary>Blocks were copied to another store node.</summary>
    public void AddCopied(int blocks) => Interlocked.Add(ref _copiedBlocks, blocks);

    public void AddCopyFailed() => Interlocked.Increment(ref _copiesFailed);

    public void AddPullRefused() => Interlocked.Increment(ref _pullsRefused);

    /// <summary>The counters under their Prometheus names.</summary>
    public void AddTo(List<Metric> metrics)
    {
        Add(metrics, "kv_blocks_loaded_local_store_total", "Blocks loaded from the store of this process.",
            ref _localBlocks);
        Add(metrics, "kv_blocks_loaded_peer_total", "Blocks pulled from other workers.", ref _peerBlocks);
        Add(metrics, "kv_blocks_loaded_store_node_total", "Blocks pulled from store nodes.", ref _storeNodeBlocks);
        Add(metrics, "kv_pulled_bytes_total", "Bytes of blocks pulled from other processes.", ref _pulledBytes);
        Add(metrics, "kv_put_blocks_total", "Blocks that store nodes stored.", ref _putBlocks);
        Add(metrics, "kv_put_bytes_total", "Bytes of these blocks.", ref _putBytes);
        Add(metrics, "kv_put_skipped_blocks_total", "Blocks not offered to a store node because it failed lately.",
            ref _putsSkippedBlocks);
        Add(metrics, "kv_retained_blocks_total", "Blocks that store nodes were told to keep longer.",
            ref _retainedBlocks);
        Add(metrics, "kv_retain_skipped_blocks_total",
            "Blocks of which store nodes were not told so: too many calls ran, or one failed.",
            ref _retainSkippedBlocks);
        Add(metrics, "kv_served_pool_blocks_total", "Blocks sent to other processes from the pool.",
            ref _sentPoolBlocks);
        Add(metrics, "kv_served_store_blocks_total", "Blocks sent to other processes from the store.",
            ref _sentStoreBlocks);
        Add(metrics, "kv_served_bytes_total", "Bytes of these blocks.", ref _sentBytes);
        Add(metrics, "kv_pulls_refused_total", "Pulls of others refused because too many ran.", ref _pullsRefused);
        Add(metrics, "kv_taken_blocks_total", "Blocks stored for other processes.", ref _takenBlocks);
        Add(metrics, "kv_taken_bytes_total", "Bytes of these blocks.", ref _takenBytes);
        Add(metrics, "kv_store_node_answers_total", "Times that a store node said what it has.", ref _answers);
        metrics.Add(new Metric(
            "kv_store_node_answer_seconds_total", true, "Time that these answers took.",
            TimeSpan.FromTicks(Interlocked.Read(ref _answerTicks)).TotalSeconds));
        Add(metrics, "kv_replica_failovers_total",
            "Times that another replica was asked because one failed, was slow or lacked blocks.", ref _failovers);
        Add(metrics, "kv_replica_hedges_total", "Times that another replica was asked while one had not answered.",
            ref _hedges);
        Add(metrics, "kv_replicas_copied_blocks_total", "Blocks copied to other store nodes.", ref _copiedBlocks);
        Add(metrics, "kv_replica_copies_failed_total", "Orders to copy blocks that failed.", ref _copiesFailed);
        Add(metrics, "kv_puts_expired_total", "Puts of others that were begun and never finished.", ref _putsExpired);
        foreach (var reason in Enum.GetValues<PeerFailure>())
        {
            Add(metrics, $"kv_peer_failures_{NameOf(reason)}_total", $"Calls for blocks that failed: {Text(reason)}.",
                ref _failures[(int)reason]);
        }
    }

    private static string NameOf(PeerFailure reason) => reason switch
    {
        PeerFailure.Unreachable => "unreachable",
        PeerFailure.TimedOut => "timed_out",
        PeerFailure.Refused => "refused",
        _ => "missing",
    };

    private static string Text(PeerFailure reason) => reason switch
    {
        PeerFailure.Unreachable => "the other process cannot be reached",
        PeerFailure.TimedOut => "no answer in time",
        PeerFailure.Refused => "refused",
        _ => "it does not have the blocks",
    };

    private static void Add(List<Metric> metrics, string name, string help, ref long value) =>
        metrics.Add(new Metric(name, true, help, Interlocked.Read(ref value)));
}
