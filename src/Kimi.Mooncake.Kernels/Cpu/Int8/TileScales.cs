using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>The scales and minima of 16 outputs of a tile.</summary>
internal static unsafe class TileScales
{
    private const int Rows = WeightTile.HalfOutputs;
    private const int MinimaAt = WeightTile.ScaleBytes;
    private const int WideBlockBytes = WeightTile.SecondAt + WeightTile.ScaleBytes;

    // 2^112: from the exponent of a half to that of a single.
    private const float HalfRebias = 5.192296858534828e33f;

    /// <summary>A half at the start of each stored block.</summary>
    /// <param name="first">First row's first half.</param>
    /// <param name="stride">Bytes from one row to the next.</param>
    /// <param name="step">Bytes from one stored block to the next.</param>
    /// <param name="blocks">Blocks.</param>
    /// <param name="target">Receives 16 singles for each block.</param>
    /// <param name="targetStep">Bytes from one block of the target to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Halves(byte* first, long stride, int step, int blocks, byte* target, int targetStep)
    {
        // All are collected before the first is converted: loads that span fresh stores would wait for them.
        var halves = stackalloc ushort[WeightTile.BlocksMax * Rows];
        for (var row = 0; row < Rows; row++)
        {
            var at = first + (row * stride);
            for (var block = 0; block < blocks; block++)
            {
                halves[(block * Rows) + row] = *(ushort*)(at + (block * step));
            }
        }

        for (var block = 0; block < blocks; block++)
        {
            Singles(Vector256.Load(halves + (block * Rows))).Store((float*)(target + (block * targetStep)));
        }
    }

    /// <summary>A scale and a least value, which is a minimum with the other sign, as halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Pairs(byte* first, long stride, int step, int blocks, byte* target)
    {
        var pairs = stackalloc uint[WeightTile.BlocksMax * Rows];
        for (var row = 0; row < Rows; row++)
        {
            var at = first + (row * stride);
            for (var block = 0; block < blocks; block++)
            {
                pairs[(block * Rows) + row] = Unsafe.ReadUnaligned<uint>(at + (block * step));
            }
        }

        for (var block = 0; block < blocks; block++)
        {
            var both = Vector512.Load(pairs + (block * Rows));
            var at = target + (block * WideBlockBytes);
            Singles(both & Vector512.Create(0xffffu)).Store((float*)at);
            (-Singles(both >>> 16)).Store((float*)(at + MinimaAt));
        }
    }

    /// <summary>Half of the power of two whose exponent is a byte at the start of each stored block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Exponents(byte* first, long stride, int step, int blocks, byte* target)
    {
        var scales = stackalloc float[WeightTile.BlocksMax * Rows];
        for (var row = 0; row < Rows; row++)
        {
            var at = first + (row * stride);
            for (var block = 0; block < blocks; block++)
            {
                scales[(block * Rows) + row] = Float4.HalfScale(at[block * step]);
            }
        }

        for (var block = 0; block < blocks; block++)
        {
            Vector512.Load(scales + (block * Rows)).Store((float*)(target + (block * WeightTile.SecondAt)));
        }
    }

    /// <summary>Scales of a tensor of their own; zeros for rows that are not there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Stored(
        in TensorScales scales, long firstRow, int rows, int firstBlock, int blocks, byte* target)
    {
        var bits = stackalloc uint[WeightTile.BlocksMax * Rows];
        if (rows < Rows)
        {
            new Span<uint>(bits, WeightTile.BlocksMax * Rows).Clear();
        }

        for (var row = 0; row < rows; row++)
        {
            var from = scales.RowOf(firstRow + row);
            if (scales.Type == TensorType.F32)
            {
                Gather((uint*)from + firstBlock, blocks, bits + row);
            }
            else
            {
                Gather((ushort*)from + firstBlock, blocks, bits + row);
            }
        }

        for (var block = 0; block < blocks; block++)
        {
            var stored = Vector512.Load(bits + (block * Rows));
            var singles = scales.Type switch
            {
                TensorType.F32 => stored.AsSingle(),
                TensorType.F16 => Singles(stored),
                _ => (stored << 16).AsSingle(),
            };
            singles.Store((float*)(target + (block * WeightTile.SecondAt)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Gather(uint* from, int blocks, uint* target)
    {
        for (var block = 0; block < blocks; block++)
        {
            target[block * Rows] = from[block];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Gather(ushort* from, int blocks, uint* target)
    {
        for (var block = 0; block < blocks; block++)
        {
            target[block * Rows] = from[block];
        }
    }

    /// <summary>Halves as singles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Singles(Vector256<ushort> halves) => Singles(
        Vector512.Create(Vector256.WidenLower(halves), Vector256.WidenUpper(halves)));

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
