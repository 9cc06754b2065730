using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>What a product of one row of bytes with stored rows takes. The generated routine knows the members' places.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ByteStream
{
    /// <summary>The first stored row.</summary>
    internal byte* Rows;

    /// <summary>Bytes from one stored row to the next.</summary>
    internal long Stride;

    /// <summary>Pairs of blocks of 32 inputs, at least 1.</summary>
    internal long Pairs;

    /// <summary>The row's bytes.</summary>
    internal sbyte* X;

    /// <summary>Scale of each block of inputs.</summary>
    internal float* Scales;

    /// <summary>Negated sum of each block of inputs.</summary>
    internal int* Sums;

    /// <summary>Results, 16 for each group of stored rows.</summary>
    internal float* Y;

    /// <summary>Groups of 16 stored rows, at least 1.</summary>
    internal long Groups;

    /// <summary>What is asked for during the last group; it may lie anywhere.</summary>
    internal byte* Afterwards;
}
