using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>What an entry of the index stands for.</summary>
internal enum EntryState : byte
{
    /// <summary>Nothing; it is in the list of free entries.</summary>
    Free = 0,

    /// <summary>A key without data that has descendants with data.</summary>
    Ghost = 1,

    /// <summary>A block.</summary>
    Block = 2,
}

/// <summary>
/// One key of a <see cref="RetentionIndex{TData}"/>. Times are the caller's milliseconds; 0 is not at all,
/// <see cref="long.MaxValue"/> without end. The fields that a lookup reads come first, in one cache line.
/// </summary>
internal struct RetentionEntry<TData>
    where TData : unmanaged
{
    public BlockKey Key;
    public long ExpiresMs;

    /// <summary>Next entry of the same bucket.</summary>
    public int NextInBucket;

    /// <summary>Entry of the block before; of a free entry: the next free one.</summary>
    public int Parent;

    /// <summary>Entries whose parent it is.</summary>
    public int Children;

    public int Bytes;
    public long SoftUntilMs;
    public long HardUntilMs;
    public long LeaseUntilMs;
    public long Score;
    public ushort Tenant;
    public ushort Uses;
    public ushort Depth;
    public EntryState State;

    /// <summary>Lower two bits: priority. The others: the pin that the sums of pinned bytes know of.</summary>
    public byte Flags;

    public TData Data;

    public readonly bool IsBlock => State == EntryState.Block;

    public int Priority
    {
        readonly get => Flags & BlockRetention.PriorityMax;
        set => Flags = (byte)((Flags & ~BlockRetention.PriorityMax) | value);
    }

    public PinKind CountedPin
    {
        readonly get => (PinKind)(Flags >> 2);
        set => Flags = (byte)((Flags & BlockRetention.PriorityMax) | ((int)value << 2));
    }

    /// <summary>The pin at a time.</summary>
    public readonly PinKind PinAt(long nowMs) =>
        HardUntilMs > nowMs ? PinKind.Hard : SoftUntilMs > nowMs ? PinKind.Soft : PinKind.None;
}
