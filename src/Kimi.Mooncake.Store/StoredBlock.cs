using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>Marks of a stored block.</summary>
[Flags]
internal enum BlockMarks : byte
{
    None = 0,

    /// <summary>Record and index entry are on disk.</summary>
    Durable = 1,

    /// <summary>A copy of it is on its way to the end of the log.</summary>
    Moving = 2,

    /// <summary>Its record is compressed.</summary>
    Compressed = 4,
}

/// <summary>What the store keeps per block beside the retention index's own part.</summary>
internal struct StoredBlock
{
    public const int NoSlot = -1;
    public const long Nowhere = -1;

    /// <summary>Where its record begins in the log; <see cref="Nowhere"/> once it is gone.</summary>
    public long Address;

    /// <summary>Slot of the memory tier that holds it, or <see cref="NoSlot"/>.</summary>
    public int Slot;

    /// <summary>Id of the next block in the same segment, or -1.</summary>
    public int Next;

    /// <summary>Id of the one before.</summary>
    public int Previous;

    public BlockMarks Marks;

    /// <summary>Reads from disk since it last lay in memory.</summary>
    public byte DiskReads;

    public BlockClass Class
    {
        readonly get => (BlockClass)_class;
        set => _class = (byte)value;
    }

    private byte _class;
}
