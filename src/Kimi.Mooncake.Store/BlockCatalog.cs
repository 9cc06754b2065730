using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Store;

/// <summary>Why a block is no longer found.</summary>
internal enum Loss
{
    /// <summary>Its room was needed.</summary>
    Room,

    /// <summary>Its tenant had too much.</summary>
    Quota,

    /// <summary>Its time was over.</summary>
    Expired,

    /// <summary>A caller removed it.</summary>
    Removed,

    /// <summary>Its bytes were not what was put.</summary>
    Damaged,

    /// <summary>The disk did not give or take its bytes.</summary>
    DiskFailed,

    /// <summary>It was found, and a later entry says that it is no more.</summary>
    Outdated,
}

/// <summary>A change to be written behind a segment's index.</summary>
internal readonly record struct Amendment(IndexEntryKind Kind, BlockKey Key, int Segment);

/// <summary>
/// Which blocks are stored, where, and which of them lie in memory. Invariants, under <see cref="Gate"/>: a block has a
/// slot or its record is on disk; every block is in the list of the segment of its address.
/// </summary>
internal sealed partial class BlockCatalog : IDisposable
{
    private readonly StoreGeometry _geometry;
    private readonly StoreCounters _counters;
    private readonly Func<long> _now;
    public BlockCatalog(
        StoreGeometry geometry, KvBlockStoreOptions options, TenantNames tenants, StoreCounters counters,
        Func<long> now)
    {
        _geometry = geometry;
        _counters = counters;
        _now = now;
        TenantNames = tenants;
        Index = new RetentionIndex<StoredBlock>(new RetentionOptions
        {
            Policy = options.Eviction,
            CapacityBytes = geometry.LiveBytesHigh,
            TenantIdleMs = options.TenantIdleSeconds * 1000L,
            BlockTokens = geometry.BlockTokens,
            TenantQuotaBytes = options.TenantQuotaBytes,
        });
        Index.Raised = Amend;
        Slots = new MemorySlots(geometry.SlotCount, geometry.PayloadBytes, geometry.LayerCount);
        Segments = new SegmentTable(geometry, Index);
    }

    /// <summary>Held by callers around every other member but <see cref="Events"/> and pinned slots' memory.</summary>
    public Lock Gate { get; } = new();

    public RetentionIndex<StoredBlock> Index { get; }

    public MemorySlots Slots { get; }

    public SegmentTable Segments { get; }

    public TenantNames TenantNames { get; }

    public StoreEvents Events { get; } = new();

    /// <summary>Blocks in memory.</summary>
    public int OwnedSlots => Slots.Count - Slots.FreeCount;

    public long NowMs => _now();

    /// <summary>Id of a block that can be found; -1.</summary>
    public int Find(in BlockKey key) => Index.Find(key, NowMs);

    /// <summary>Adds a block that is not there, or was and has expired.</summary>
    /// <returns>Its id.</returns>
    public int Add(in BlockHeader header, int logBytes, long address, BlockMarks marks, long nowMs)
    {
        if (Index.FindAny(header.Key) is >= 0 and var old)
        {
            Remove(old, Loss.Expired);
        }

        NoteUnreadable(header.Key);
        Segments.Grow(address, logBytes);
        var id = Index.Add(
            header.Key, header.Parent, logBytes, Index.Tenant(header.Tenant), header.Retention.From(nowMs), nowMs);
        ref var block = ref Index.Data(id);
        block = new StoredBlock
        {
            Address = address,
            Slot = StoredBlock.NoSlot,
            Marks = marks | (header.Encoding == BlockEncoding.Plain ? BlockMarks.None : BlockMarks.Compressed),
            Class = header.Class,
        };
        Segments.Link(id);
        Events.NoteStored(header.Key, header.Parent);
        return id;
    }

    /// <summary>Gives a pinned slot to a block that has none.</summary>
    public void Own(int slot, int id)
    {
        ref var block = ref Index.Data(id);
        block.Slot = slot;
        block.DiskReads = 0;
        Slots.Own(slot, id, (block.Marks & BlockMarks.Durable) != 0);
    }

    /// <summary>Id of the block of a key if it is the one that lies at an address, expired or not; -1.</summary>
    public int FindAt(in BlockKey key, long address) =>
        Index.FindAny(key) is >= 0 and var id && Index.Data(id).Address == address ? id : -1;

    /// <summary>Whether record and index entry are written.</summary>
    public bool IsDurable(int id) => (Index.Data(id).Marks & BlockMarks.Durable) != 0;

    /// <summary>Notes that record and index entry are written: the slot may be reclaimed.</summary>
    public void MarkDurable(int id)
    {
        ref var block = ref Index.Data(id);
        block.Marks |= BlockMarks.Durable;
        if (block.Slot != StoredBlock.NoSlot)
        {
            Slots.MarkDurable(block.Slot);
        }
    }

    /// <summary>Notes that a block is found at another address from now on.</summary>
    public void Move(int id, long address)
    {
        Segments.Unlink(id);
        ref var block = ref Index.Data(id);
        block.Address = address;
        block.Marks &= ~BlockMarks.Moving;
        Segments.Link(id);
    }

    /// <summary>Takes a block out of memory; it is on disk.</summary>
    /// <returns>Whether a slot could be freed. Looks at some of them only.</returns>
    public bool TryDemote()
    {
        if (!Slots.TryReclaim(out var owner))
        {
            return false;
        }

        Index.Data(owner).Slot = StoredBlock.NoSlot;
        _counters.Demoted++;
        return true;
    }

    /// <summary>Forgets a block.</summary>
    public void Remove(int id, Loss loss)
    {
        ref var block = ref Index.Data(id);
        var key = Index.KeyOf(id);
        if (loss is Loss.Removed or Loss.Damaged)
        {
            NoteRemoved(key);
        }

        NoteGone(id, loss);

        Segments.Unlink(id);
        block.Address = StoredBlock.Nowhere;
        if (block.Slot != StoredBlock.NoSlot)
        {
            Slots.Disown(block.Slot);
            block.Slot = StoredBlock.NoSlot;
        }

        if (loss is Loss.Room or Loss.Quota)
        {
            Index.Evict(id);
        }
        else
        {
            Index.Remove(id);
        }

        Count(loss);
        Events.NoteRemoved(key);
    }

    /// <summary>Breaks with a message when the books do not add up; for tests.</summary>
    public void Check()
    {
        Slots.Check();
        Segments.Check();
        Index.Check();
    }

    public void Dispose() => Slots.Dispose();

    private void Count(Loss loss)
    {
        switch (loss)
        {
            case Loss.Room:
                _counters.EvictedForRoom++;
                break;
            case Loss.Quota:
                _counters.EvictedForQuota++;
                break;
            case Loss.Expired:
                _counters.Expired++;
                break;
            case Loss.Damaged:
                Interlocked.Increment(ref _counters.Damaged);
                break;
            case Loss.Removed:
                _counters.Removed++;
                break;
            case Loss.DiskFailed:
            case Loss.Outdated:
                break;
        }
    }
}
