using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Changes of the keys in a node's pool. Each event has a number, without gaps over the life of a registration. A
/// snapshot says what there is; it may come in several batches, with nothing else between its first and its last.
/// </summary>
public readonly ref struct KvEventBatch
{
    /// <summary>
    /// Number of the first event below; in the last batch of a snapshot, of the last event that the snapshot contains.
    /// </summary>
    public ulong Sequence { get; init; }

    /// <summary>First batch of a snapshot: what was known of the node is forgotten.</summary>
    public bool SnapshotBegin { get; init; }

    /// <summary>Last batch of a snapshot.</summary>
    public bool SnapshotEnd { get; init; }

    /// <summary>Keys in the order of the events; every added key comes after its parent.</summary>
    public ReadOnlySpan<BlockKey> Keys { get; init; }

    /// <summary>For each key, whether it was removed; empty in a snapshot.</summary>
    public ReadOnlySpan<bool> Removed { get; init; }
}

/// <summary>What became of KV events.</summary>
public enum KvEventResult
{
    /// <summary>The index has them.</summary>
    Applied,

    /// <summary>Events are missing: the node must be asked for a snapshot now.</summary>
    ResyncWanted,

    /// <summary>Left out: a snapshot was asked for and has not begun.</summary>
    AwaitsSnapshot,

    /// <summary>The sender is no member, or not any more.</summary>
    NotMember,
}
