using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>A block that can be found. Its fields change under the catalog's lock only.</summary>
internal sealed class StoredBlock
{
    public const int NoSlot = -1;

    public required BlockKey Key { get; init; }

    /// <summary>Key of the block before it.</summary>
    public BlockKey Parent { get; init; }

    /// <summary>Where its record begins in the log.</summary>
    public required long Address { get; set; }

    /// <summary>Slot of the memory tier that holds it, or <see cref="NoSlot"/>.</summary>
    public int Slot { get; set; } = NoSlot;

    /// <summary>Whether the record is on disk and its index entry too. Until then the slot stays.</summary>
    public bool Durable { get; set; }

    /// <summary>Whether it was read since it was last written: such a block outlives its segment.</summary>
    public bool Hot { get; set; }

    /// <summary>Who pays for its room.</summary>
    public string Tenant { get; init; } = "";

    /// <summary>Milliseconds at which it becomes a miss.</summary>
    public long ExpiresMs { get; private set; } = long.MaxValue;

    private PinKind _pin;
    private long _pinEndsMs;

    /// <summary>Whether it outlives its segment whatever else does.</summary>
    public bool IsPinned(long nowMs) => _pin != PinKind.None && nowMs < _pinEndsMs;

    /// <summary>Holds the block longer and more strongly, never less.</summary>
    public void Retain(in BlockRetention retention, long nowMs)
    {
        ExpiresMs = retention.LifetimeSeconds == 0 ? long.MaxValue : nowMs + (retention.LifetimeSeconds * 1000L);
        if (retention.Pin != PinKind.None)
        {
            _pin = retention.Pin;
            _pinEndsMs = retention.PinSeconds == 0
                ? long.MaxValue
                : Math.Max(_pinEndsMs, nowMs + (retention.PinSeconds * 1000L));
        }
    }

    /// <summary>Takes the pin off.</summary>
    public void Unpin() => _pin = PinKind.None;
}

/// <summary>
/// Which blocks are stored, where, and which of them lie in memory. Invariants, under <see cref="Gate"/>: a block has a
/// slot or its record is on disk; slots free + slots owned + slots pinned without owner = all slots; a pinned slot is
/// neither freed nor given to another block.
/// </summary>
internal sealed unsafe class BlockCatalog : IDisposable
{
    private readonly Dictionary<BlockKey, StoredBlock> _blocks = [];
    private readonly Dictionary<int, List<StoredBlock>> _segments = [];
    private readonly StoreGeometry _geometry;
    private readonly StoredBlock?[] _owners;
    private readonly int[] _pins;
    private readonly bool[] _used;
    private readonly Stack<int> _free;
    private readonly byte* _memory;
    private int _hand;

    // Owned slots whose block waits for the disk; when all do, looking for one to reclaim is in vain.
    private int _waiting;

    public BlockCatalog(StoreGeometry geometry)
    {
        _geometry = geometry;
        _owners = new StoredBlock?[geometry.SlotCount];
        _pins = new int[geometry.SlotCount];
        _used = new bool[geometry.SlotCount];
        _free = new Stack<int>(geometry.SlotCount);
        for (var slot = geometry.SlotCount - 1; slot >= 0; slot--)
        {
            _free.Push(slot);
        }

        _memory = (byte*)NativeMemory.AllocZeroed((nuint)geometry.SlotCount, (nuint)geometry.PayloadBytes);
    }

    /// <summary>Held by callers around every other member but <see cref="SlotPointer"/>.</summary>
    public Lock Gate { get; } = new();

    public int Count => _blocks.Count;

    public StoreEvents Events { get; } = new();

    public IEnumerable<StoredBlock> Blocks => _blocks.Values;

    /// <summary>What holds before a block is given out: it has not expired.</summary>
    public Func<long> Now { get; init; } = static () => 0;

    public int OwnedSlots => _owners.Length - _free.Count;

    public StoredBlock? Find(in BlockKey key)
    {
        if (_blocks.TryGetValue(key, out var block) && block.ExpiresMs <= Now())
        {
            Remove(key);
            return null;
        }

        return block;
    }

    /// <summary>First byte of a slot; the caller has it pinned.</summary>
    public byte* SlotPointer(int slot) => _memory + ((long)slot * _geometry.PayloadBytes);

    /// <summary>Adds a block, or moves the one of this key to a newer address.</summary>
    public void Add(StoredBlock block)
    {
        Remove(block.Key);
        _blocks[block.Key] = block;
        Enlist(block);
    }

    /// <summary>Notes that a block, which has a slot, now lies elsewhere in the log and waits for the disk.</summary>
    public void Move(StoredBlock block, long address)
    {
        block.Address = address;
        block.Hot = false;
        if (block.Durable)
        {
            block.Durable = false;
            _waiting++;
        }

        Enlist(block);
    }

    /// <summary>Whether the block is still the one that is found under its key, at this address.</summary>
    public bool IsCurrent(StoredBlock block, long address) =>
        block.Address == address && _blocks.TryGetValue(block.Key, out var found) && ReferenceEquals(found, block);

    /// <summary>Notes that record and index entry are written: the slot may be reclaimed.</summary>
    public void MarkDurable(StoredBlock block)
    {
        if (!block.Durable)
        {
            block.Durable = true;
            _waiting--;
        }
    }

    /// <summary>Forgets a block.</summary>
    public bool Remove(in BlockKey key)
    {
        if (!_blocks.Remove(key, out var block))
        {
            return false;
        }

        Events.NoteRemoved(key);
        if (block.Slot != StoredBlock.NoSlot)
        {
            var slot = block.Slot;
            _waiting -= block.Durable ? 0 : 1;
            block.Slot = StoredBlock.NoSlot;
            _owners[slot] = null;
            FreeIfUnused(slot);
        }

        return true;
    }

    /// <summary>Takes the blocks that lie in a segment off its list; some may be gone or have moved since.</summary>
    public List<StoredBlock> TakeSegment(int segment) =>
        _segments.Remove(segment, out var blocks) ? blocks : [];

    /// <summary>Blocks of a segment that were read since they were written.</summary>
    public List<StoredBlock> HotBlocks(int segment)
    {
        var hot = new List<StoredBlock>();
        foreach (var block in _segments.GetValueOrDefault(segment) ?? [])
        {
            if ((block.Hot || block.IsPinned(Now())) && _geometry.SegmentOf(block.Address) == segment && IsCurrent(block, block.Address))
            {
                hot.Add(block);
            }
        }

        return hot;
    }

    /// <summary>
    /// Pins a free slot, or that of a durable block not used lately; -1 when every block waits for the disk.
    /// </summary>
    public int TakeSlot()
    {
        if (!_free.TryPop(out var slot))
        {
            slot = Reclaim();
        }

        if (slot >= 0)
        {
            _pins[slot] = 1;
        }

        return slot;
    }

    /// <summary>Gives a pinned slot to a block that has none.</summary>
    public void Own(int slot, StoredBlock block)
    {
        _owners[slot] = block;
        _waiting += block.Durable ? 0 : 1;
        _used[slot] = true;
        block.Slot = slot;
    }

    public void Pin(int slot)
    {
        _pins[slot]++;
        _used[slot] = true;
    }

    public void Unpin(int slot)
    {
        _pins[slot]--;
        FreeIfUnused(slot);
    }

    /// <summary>Breaks with a message when the slots do not add up; for tests.</summary>
    public void Check()
    {
        var owned = 0;
        var waiting = 0;
        var loose = 0;
        for (var slot = 0; slot < _owners.Length; slot++)
        {
            owned += _owners[slot] is null ? 0 : 1;
            waiting += _owners[slot] is { Durable: false } ? 1 : 0;
            loose += _owners[slot] is null && _pins[slot] > 0 ? 1 : 0;
        }

        if (_free.Count + owned + loose != _owners.Length || waiting != _waiting)
        {
            throw new InvalidOperationException(
                $"slots: {_free.Count} free + {owned} owned + {loose} pinned != {_owners.Length}, or {waiting} " +
                $"waiting != {_waiting}");
        }
    }

    /// <summary>Frees the memory; nothing may be pinned.</summary>
    public void Dispose() => NativeMemory.Free(_memory);

    private int Reclaim()
    {
        if (_waiting == _owners.Length)
        {
            return StoredBlock.NoSlot;
        }

        // Twice round: the first pass may only take back the marks of use.
        for (var step = 0; step < 2 * _owners.Length; step++)
        {
            var slot = _hand;
            _hand = _hand + 1 == _owners.Length ? 0 : _hand + 1;
            if (_pins[slot] > 0 || _owners[slot] is not { Durable: true } owner)
            {
                continue;
            }

            if (_used[slot])
            {
                _used[slot] = false;
                continue;
            }

            owner.Slot = StoredBlock.NoSlot;
            _owners[slot] = null;
            return slot;
        }

        return StoredBlock.NoSlot;
    }

    private void FreeIfUnused(int slot)
    {
        if (_pins[slot] == 0 && _owners[slot] is null)
        {
            _free.Push(slot);
        }
    }

    private void Enlist(StoredBlock block)
    {
        var segment = _geometry.SegmentOf(block.Address);
        if (!_segments.TryGetValue(segment, out var blocks))
        {
            _segments[segment] = blocks = [];
        }

        blocks.Add(block);
    }
}
