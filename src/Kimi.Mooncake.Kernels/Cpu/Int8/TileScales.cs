using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>The scales and minima of 16 outputs of a tile.</summary>
internal static unsafe class TileScales
{
    private const int Rows = WeightTile.HalfOutputs;

    // 2^112: from the exponent of a half to that of a single.
    private const float HalfRebias = 5.192296858534828e33f;

    /// <summary>Scales of a tensor of their own; zeros for rows that are not there.</summary>
    /// <param name="scales">The tensor.</param>
    /// <param name="firstRow">First row of the weight.</param>
    /// <param name="rows">Rows that are there, at most 16.</param>
    /// <param name="firstBlock">First block of 32 inputs.</param>
    /// <param name="blocks">Blocks.</param>
    /// <param name="ahead">Scales from there to those that are wanted soon; 0 is none.</param>
    /// <param name="target">Receives 16 singles for each block.</param>
    /// <param name="blockBytes">Bytes from one block of the target to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Stored(
        in TensorScales scales, long firstRow, int rows, int firstBlock, int blocks, long ahead, byte* target,
        int blockBytes = WeightTile.SecondAt)
    {
        var block = 0;
        if (rows == Rows)
        {
            var bytes = scales.Type == TensorType.F32 ? sizeof(float) : sizeof(ushort);
            var perWord = scales.Type == TensorType.F32 ? 1 : 2;
            var source = new TileRows(
                scales.RowOf(firstRow) + ((long)firstBlock * bytes), (long)scales.Stride * bytes,
                new TileFetch(ahead * bytes, 0, 0));
            source.Fetch(0, blocks, 0, blocks * bytes);
            for (; block + (4 * perWord) <= blocks; block += 4 * perWord)
            {
                var words = source.Columns(block / perWord * sizeof(uint));
                var step = perWord * blockBytes;
                var at = target + (block * blockBytes);
                Word(words.W0, scales.Type, at, blockBytes);
                Word(words.W1, scales.Type, at + step, blockBytes);
                Word(words.W2, scales.Type, at + (2 * step), blockBytes);
                Word(words.W3, scales.Type, at + (3 * step), blockBytes);
            }
        }

        for (; block < blocks; block++)
        {
            for (var row = 0; row < Rows; row++)
            {
                ((float*)(target + (block * blockBytes)))[row] =
                    row < rows ? scales.At(firstRow + row, firstBlock + block) : 0;
            }
        }
    }

    /// <summary>The scale, or the two, that a word of each row has.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Word(Vector512<uint> words, TensorType type, byte* target, int blockBytes)
    {
        switch (type)
        {
            case TensorType.F32:
                words.Store((uint*)target);
                break;
            case TensorType.F16:
                Singles(words & Vector512.Create(0xffffu)).Store((float*)target);
                Singles(words >>> 16).Store((float*)(target + blockBytes));
                break;
            default:
                (words << 16).Store((uint*)target);
                (words & Vector512.Create(0xffff0000u)).Store((uint*)(target + blockBytes));
                break;
        }
    }

    /// <summary><see cref="Float4.HalfScale"/> of bytes in words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> HalfScales(Vector512<uint> exponents) => Vector512.ConditionalSelect(
        Vector512.GreaterThan(exponents, Vector512<uint>.One),
        (exponents - Vector512<uint>.One) << 23,
        (exponents + Vector512<uint>.One) << 21).AsSingle();

    /// <summary>Halves in the low parts of words as singles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Singles(Vector512<uint> halves)
    {
        var shifted = (halves & Vector512.Create(0x7fffu)) << 13;
        var finite = (shifted.AsSingle() * Vector512.Create(HalfRebias)).AsUInt32();
        var magnitude = finite | (Vector512.GreaterThanOrEqual(shifted, Vector512.Create(0x0f80_0000u))
            & Vector512.Create(0x7f80_0000u));
        return (magnitude | ((halves & Vector512.Create(0x8000u)) << 16)).AsSingle();
    }
}
