using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The memory tier: slots of one block each, with the checksums of the block's layers. A slot is free, owned by a
/// block, or pinned by somebody who reads or fills it, or owned and pinned. What is owned and not pinned, durable and
/// not used lately may be reclaimed (second chance). All members but the pointers are called under the catalog's
/// lock.
/// </summary>
internal sealed unsafe class MemorySlots : IDisposable
{
    public const int None = -1;

    /// <summary>Slots that one call looks at, so that nobody waits long for the lock.</summary>
    public const int ReclaimStepsMax = 512;

    private const nuint AlignBytes = 2 << 20;

    private readonly int[] _owners;
    private readonly int[] _pins;
    private readonly SlotMarks[] _marks;
    private readonly int[] _free;
    private readonly uint[] _checksums;
    private readonly int _slotBytes;
    private readonly int _layers;
    private readonly byte* _memory;
    private int _freeCount;
    private int _waiting;
    private int _hand;

    public MemorySlots(int count, int slotBytes, int layers)
    {
        _slotBytes = slotBytes;
        _layers = layers;
        _owners = new int[count];
        _pins = new int[count];
        _marks = new SlotMarks[count];
        _free = new int[count];
        _checksums = new uint[(long)count * layers];
        Array.Fill(_owners, None);
        for (var slot = count - 1; slot >= 0; slot--)
        {
            _free[_freeCount++] = slot;
        }

        var bytes = (nuint)count * (nuint)slotBytes;
        _memory = (byte*)NativeMemory.AlignedAlloc(bytes, AlignBytes);
        SystemHints.UseHugePages((nint)_memory, (long)bytes);
    }

    [Flags]
    private enum SlotMarks : byte
    {
        None = 0,
        Used = 1,
        Waiting = 2,
    }

    public int Count => _owners.Length;

    public int FreeCount => _freeCount;

    /// <summary>Bytes of the accounting, without the slots themselves.</summary>
    public long MetadataBytes => Count * ((3L * sizeof(int)) + 1 + (_layers * sizeof(uint)));

    /// <summary>First byte of a slot; the caller has it pinned.</summary>
    public byte* Pointer(int slot) => _memory + ((long)slot * _slotBytes);

    /// <summary>Checksums of the layers of the block in a slot that the caller has pinned.</summary>
    public Span<uint> Checksums(int slot) => _checksums.AsSpan(slot * _layers, _layers);

    /// <summary>Pins a free slot; <see cref="None"/> when there is none.</summary>
    public int TakeFree()
    {
        if (_freeCount == 0)
        {
            return None;
        }

        var slot = _free[--_freeCount];
        _pins[slot] = 1;
        return slot;
    }

    /// <summary>Looks for a slot to reclaim and frees it; looks at some of them only.</summary>
    /// <param name="owner">The block that lay in it.</param>
    /// <returns>Whether there was one. Another call looks on.</returns>
    public bool TryReclaim(out int owner)
    {
        owner = None;
        if (_waiting == Count - _freeCount)
        {
            return false;
        }

        for (var step = 0; step < ReclaimStepsMax; step++)
        {
            var slot = _hand;
            _hand = _hand + 1 == Count ? 0 : _hand + 1;
            if (_pins[slot] > 0 || _owners[slot] == None || (_marks[slot] & SlotMarks.Waiting) != 0)
            {
                continue;
            }

            if ((_marks[slot] & SlotMarks.Used) != 0)
            {
                _marks[slot] &= ~SlotMarks.Used;
                continue;
            }

            owner = _owners[slot];
            Disown(slot);
            return true;
        }

        return false;
    }

    /// <summary>Gives a pinned slot to a block that has none.</summary>
    public void Own(int slot, int block, bool durable)
    {
        _owners[slot] = block;
        _marks[slot] = SlotMarks.Used | (durable ? SlotMarks.None : SlotMarks.Waiting);
        _waiting += durable ? 0 : 1;
    }

    /// <summary>Takes a slot from its block.</summary>
    public void Disown(int slot)
    {
        _waiting -= (_marks[slot] & SlotMarks.Waiting) == 0 ? 0 : 1;
        _owners[slot] = None;
        _marks[slot] = SlotMarks.None;
        FreeIfUnused(slot);
    }

    /// <summary>Notes that the block in a slot is on disk too.</summary>
    public void MarkDurable(int slot)
    {
        _waiting -= (_marks[slot] & SlotMarks.Waiting) == 0 ? 0 : 1;
        _marks[slot] &= ~SlotMarks.Waiting;
    }

    public void Pin(int slot)
    {
        _pins[slot]++;
        _marks[slot] |= SlotMarks.Used;
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
        for (var slot = 0; slot < Count; slot++)
        {
            owned += _owners[slot] == None ? 0 : 1;
            waiting += (_marks[slot] & SlotMarks.Waiting) == 0 ? 0 : 1;
            loose += _owners[slot] == None && _pins[slot] > 0 ? 1 : 0;
        }

        if (_freeCount + owned + loose != Count || waiting != _waiting)
        {
            throw new InvalidOperationException(
                $"slots: {_freeCount} free + {owned} owned + {loose} pinned != {Count}, or {waiting} waiting " +
                $"!= {_waiting}");
        }
    }

    /// <summary>Frees the memory; nothing may be pinned.</summary>
    public void Dispose() => NativeMemory.AlignedFree(_memory);

    private void FreeIfUnused(int slot)
    {
        if (_pins[slot] == 0 && _owners[slot] == None)
        {
            _free[_freeCount++] = slot;
        }
    }
}
