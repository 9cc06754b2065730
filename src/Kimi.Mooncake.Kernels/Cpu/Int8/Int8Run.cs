using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu.Amx;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// What a kernel works on: a tile by any number of rows. Generated routines know the places of the members.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Int8Run
{
    /// <summary>Weights, see <see cref="WeightTile"/>.</summary>
    internal byte* Tile;

    /// <summary>The rows' bytes at the tile's first input.</summary>
    internal sbyte* X;

    /// <summary>Bytes from one row of <see cref="X"/> to the next.</summary>
    internal long XStride;

    /// <summary>Scale of each block of inputs.</summary>
    internal float* Scales;

    /// <summary>Negated sums of blocks, or of halves of blocks where the tile has scales for those.</summary>
    internal int* Sums;

    /// <summary>Scaled and negated sums of blocks.</summary>
    internal float* ScaledSums;

    /// <summary>Bytes from one row of <see cref="Scales"/> to the next; sums of halves have twice as many.</summary>
    internal long BlockStride;

    /// <summary>32 results of each row.</summary>
    internal float* Y;

    /// <summary>Bytes from one row of <see cref="Y"/> to the next.</summary>
    internal long YStride;

    /// <summary>Blocks of 32 inputs, at least 1.</summary>
    internal long Blocks;

    /// <summary>Rows, at least 1; of a generated routine, how many times the rows that it takes at once.</summary>
    internal long Rows;

    /// <summary>Not 0 where the results are added to.</summary>
    internal long Accumulate;

    /// <summary>The same for rows further on.</summary>
    internal readonly Int8Run From(long row, int sumsOfBlock)
    {
        var run = this;
        run.X += row * XStride;
        run.Scales = (float*)((byte*)Scales + (row * BlockStride));
        run.Sums = (int*)((byte*)Sums + (row * BlockStride * sumsOfBlock));
        run.ScaledSums = (float*)((byte*)ScaledSums + (row * BlockStride));
        run.Y = (float*)((byte*)Y + (row * YStride));
        run.Rows -= row;
        return run;
    }
}

/// <summary>
/// Products of a tile with rows of bytes. For each block ascending: the exact sum of <c>(byte - zero) * input</c> as a
/// single, times the product of both scales, added to the result by one fused multiply-add; then, where there are
/// minima, minimum times scaled sum by another. Blocks with two scales count as two. The same bits from each of them.
/// </summary>
internal abstract unsafe class Int8Kernel
{
    internal abstract void Multiply(in Int8Run run);

    /// <summary>The kernel of a path for tiles of a form.</summary>
    internal static Int8Kernel For(InstructionPath path, TileFormat format) => path switch
    {
        InstructionPath.Portable => new PortableInt8(format),
        InstructionPath.AvxVnni => new AvxVnniInt8(format),
        InstructionPath.Amx => AmxInt8.For(format),
        _ => GeneratedInt8.For(format),
    };
}
