using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// What a product of a few rows of bytes with stored rows takes. Generated routines know the places of the members, and
/// keep the scales of a block of 256 inputs behind them.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ByteStream
{
    /// <summary>The first stored row.</summary>
    internal byte* Stored;

    /// <summary>Bytes from one stored row to the next.</summary>
    internal long StoredStride;

    /// <summary>Blocks of the type in a row, at least 1.</summary>
    internal long Blocks;

    /// <summary>The rows' bytes; from one to the next it is eight times <see cref="BlockStride"/>.</summary>
    internal sbyte* X;

    /// <summary>Scale of each 32 inputs.</summary>
    internal float* Scales;

    /// <summary>
    /// The negated sums of each 32 inputs as the type wants them: scaled where it has minima, of halves for Q6_K.
    /// </summary>
    internal void* Sums;

    /// <summary>Bytes from one row of <see cref="Scales"/> to the next; sums of halves have twice as many.</summary>
    internal long BlockStride;

    /// <summary>Scales of 16 stored rows for each 32 inputs, where they are a tensor of their own: a table.</summary>
    internal float* Table;

    /// <summary>
    /// Blocks whose scales are left in the table; where they do not reach, the routine makes more from
    /// <see cref="OwnScales"/>.
    /// </summary>
    internal long TableLeft;

    /// <summary>The first stored row's scales, BF16, at least 8; the routine goes through them.</summary>
    internal byte* OwnScales;

    /// <summary>Bytes from a stored row's scales to the next one's.</summary>
    internal long OwnScalesStride;

    /// <summary>Stored scales that are asked for; they may lie anywhere.</summary>
    internal byte* TableAhead;

    /// <summary>Results of each row, 16 for each group of stored rows.</summary>
    internal float* Y;

    /// <summary>Bytes from one row of <see cref="Y"/> to the next.</summary>
    internal long YStride;

    /// <summary>Groups of 16 stored rows, at least 1; with a whole table it is one.</summary>
    internal long Groups;

    /// <summary>What is asked for first; the routine goes on from there.</summary>
    internal byte* Ahead;

    /// <summary>Groups until <see cref="Afterwards"/> is asked for, that one included; 0 is never.</summary>
    internal long AheadLeft;

    /// <summary>What is asked for towards the end; it may lie anywhere.</summary>
    internal byte* Afterwards;

    /// <summary>The routine's own: blocks that are left of a row.</summary>
    internal long BlocksLeft;

    /// <summary>The routine's own: where it is while it reads scales.</summary>
    internal byte* StoredKept;
}
