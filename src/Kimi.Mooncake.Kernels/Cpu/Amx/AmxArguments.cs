using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>What a routine is called with. It changes them: they serve one call.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AmxArguments
{
    /// <summary>The <see cref="TileConfiguration"/>.</summary>
    internal byte* Configuration;

    /// <summary>First of the inputs, <c>[row][k]</c>.</summary>
    internal sbyte* Inputs;

    /// <summary>Bytes from one row of the inputs to the next.</summary>
    internal long InputStride;

    /// <summary>Weights of the first step.</summary>
    internal sbyte* Weights;

    /// <summary>Scales of the first step, <c>[16 outputs]</c>.</summary>
    internal float* Scales;

    /// <summary>Mins of the first step, <c>[16 outputs]</c>; not read where there are none.</summary>
    internal float* Mins;

    /// <summary><c>[row tile][block]</c>: the scales of 16 rows and, for mins, their 16 factors.</summary>
    internal float* RowScales;

    /// <summary>Bytes from the row scales of one tile of rows to those of the next.</summary>
    internal long RowScalesStride;

    /// <summary>Steps, at least 1.</summary>
    internal long Steps;

    /// <summary>Tiles of rows, at least 1.</summary>
    internal long RowTiles;

    /// <summary>Not 0: the results are added to what is there.</summary>
    internal long Accumulate;

    /// <summary>Receives 16 results of each row.</summary>
    internal float* Results;

    /// <summary>Bytes from one row of the results to the next.</summary>
    internal long ResultStride;

    /// <summary>Scratch of <see cref="AmxAssembly.ScratchBytes"/> bytes.</summary>
    internal int* Sums;
}
