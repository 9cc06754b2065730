using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// What a product of one row of bytes with stored rows takes. Generated routines know the places of the members.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ByteStream
{
    /// <summary>The first stored row.</summary>
    internal byte* Rows;

    /// <summary>Bytes from one stored row to the next.</summary>
    internal long Stride;

    /// <summary>Times that the routine goes through its turn of inputs, at least 1.</summary>
    internal long Turns;

    /// <summary>The row's bytes.</summary>
    internal sbyte* X;

    /// <summary>Scale of each block of inputs.</summary>
    internal float* Scales;

    /// <summary>Negated sum of each block of inputs.</summary>
    internal int* Sums;

    /// <summary>Scaled and negated sum of each block of inputs.</summary>
    internal float* ScaledSums;

    /// <summary>Scales and minima of 16 stored rows for each block of inputs, where the type packs them.</summary>
    internal byte* Table;

    /// <summary>Results, 16 for each group of stored rows.</summary>
    internal float* Y;

    /// <summary>Groups of 16 stored rows, at least 1; with a table it is one.</summary>
    internal long Groups;

    /// <summary>What is asked for during the last group; it may lie anywhere.</summary>
    internal byte* Afterwards;
}
