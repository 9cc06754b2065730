using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Cached rows of bytes to a tile as <see cref="ByteTileShape"/> has it.</summary>
internal static unsafe class ByteTurning
{
    /// <summary>Keys that are turned at once.</summary>
    internal const int Keys = 16;

    // What makes signed bytes unsigned, 128 more.
    private const uint Bias = 0x80808080;

    // Scales whose reciprocal is a normal number: 2^-120 and 2^120.
    private const float ScaleMin = 7.5231638e-37f;
    private const float ScaleMax = 1.329228e36f;

    private const int ColumnBytes = 16;
    private const int ColumnStepBytes = ColumnBytes / sizeof(uint) * ByteTileShape.StepBytes;
    private const int VectorBytes = 64;

    /// <summary>Copies a row to zeros so that it can be turned.</summary>
    internal static void Stage(KvLayout layout, in ByteTileShape shape, byte* row, byte* target)
    {
        var headerBytes = (layout.Q8Groups * sizeof(float)) + (layout.RopeDimension * sizeof(ushort));
        Unsafe.CopyBlockUnaligned(target, row, (uint)headerBytes);
        Unsafe.CopyBlockUnaligned(target + shape.HeaderBytes, row + headerBytes, (uint)layout.LatentRank);
    }

    /// <summary>Turns 16 rows for scores; up to 12 bytes behind a row's header are read with it.</summary>
    /// <param name="shape">Dimensions.</param>
    /// <param name="first">First row.</param>
    /// <param name="stride">Bytes from one row to the next.</param>
    /// <param name="target">The upper or lower vector of 32 keys' first word.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void TurnKeys(in ByteTileShape shape, byte* first, long stride, byte* target)
    {
        if (Avx512F.IsSupported)
        {
            TurnKeys512(shape, first, stride, target);
            return;
        }

        for (var column = 0; column < shape.HeaderColumns; column++)
        {
            Store(target + (column * ColumnStepBytes), TileRows.Columns(first + (column * ColumnBytes), stride));
        }

        target += shape.LatentsAt;
        var latents = first + shape.HeaderBytes;
        for (var column = 0; column < shape.Groups * ByteTileShape.GroupValues / ColumnBytes; column++)
        {
            Store(
                target + (column * ColumnStepBytes),
                TileRows.Columns(latents + (column * ColumnBytes), stride).Xor(Bias));
        }
    }

    /// <summary>The same by 32 bytes of a row where there are as many.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TurnKeys512(in ByteTileShape shape, byte* first, long stride, byte* target)
    {
        var column = 0;
        for (; column + 2 <= shape.HeaderColumns; column += 2)
        {
            TwoColumns(first + (column * ColumnBytes), stride, 0, target + (column * ColumnStepBytes));
        }

        if (column < shape.HeaderColumns)
        {
            Store(target + (column * ColumnStepBytes), TileRows.Columns(first + (column * ColumnBytes), stride));
        }

        target += shape.LatentsAt;
        var latents = first + shape.HeaderBytes;
        for (column = 0; column < shape.Groups * ByteTileShape.GroupValues / ColumnBytes; column += 2)
        {
            TwoColumns(latents + (column * ColumnBytes), stride, Bias, target + (column * ColumnStepBytes));
        }
    }

    /// <summary>32 bytes of 16 rows: eight words after another.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TwoColumns(byte* first, long stride, uint bias, byte* target)
    {
        const byte Even = 0x88;
        const byte Odd = 0xdd;
        var (a0, b0) = (Rows(first, stride), Rows(first + (8 * stride), stride));
        var (a1, b1) = (Rows(first + stride, stride), Rows(first + (9 * stride), stride));
        var (a2, b2) = (Rows(first + (2 * stride), stride), Rows(first + (10 * stride), stride));
        var (a3, b3) = (Rows(first + (3 * stride), stride), Rows(first + (11 * stride), stride));
        Column(
            Avx512F.Shuffle4x128(a0, b0, Even), Avx512F.Shuffle4x128(a1, b1, Even),
            Avx512F.Shuffle4x128(a2, b2, Even), Avx512F.Shuffle4x128(a3, b3, Even), bias, target);
        Column(
            Avx512F.Shuffle4x128(a0, b0, Odd), Avx512F.Shuffle4x128(a1, b1, Odd),
            Avx512F.Shuffle4x128(a2, b2, Odd), Avx512F.Shuffle4x128(a3, b3, Odd), bias, target + ColumnStepBytes);
    }

    /// <summary>32 bytes of a row, and of the fourth one after it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rows(byte* row, long stride) => Avx512F.InsertVector256(
        Vector256.Load((uint*)row).ToVector512Unsafe(), Vector256.Load((uint*)(row + (4 * stride))), 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Column(
        Vector512<uint> r0, Vector512<uint> r1, Vector512<uint> r2, Vector512<uint> r3, uint bias, byte* target)
    {
        var low01 = Avx512F.UnpackLow(r0, r1).AsUInt64();
        var high01 = Avx512F.UnpackHigh(r0, r1).AsUInt64();
        var low23 = Avx512F.UnpackLow(r2, r3).AsUInt64();
        var high23 = Avx512F.UnpackHigh(r2, r3).AsUInt64();
        Store(target, new WordColumns(
            Avx512F.UnpackLow(low01, low23).AsUInt32(), Avx512F.UnpackHigh(low01, low23).AsUInt32(),
            Avx512F.UnpackLow(high01, high23).AsUInt32(), Avx512F.UnpackHigh(high01, high23).AsUInt32())
            .Xor(bias));
    }

    /// <summary>Turns 64 latents of rows, a multiple of 16, for sums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void TurnLatents(RowRun* runs, int rows, long offset, byte* target)
    {
        for (var run = 0; run < rows / Keys; run++)
        {
            var latents = runs[run].First + offset;
            for (var row = 0; row < Keys; row += ByteTileShape.QuadKeys)
            {
                Interleave(latents, runs[run].Stride, target);
                latents += ByteTileShape.QuadKeys * runs[run].Stride;
                target += ByteTileShape.StepBytes;
            }
        }
    }

    /// <summary>
    /// Scales of a tile, group after group, become those over the greatest of their group; the tile's spread
    /// (<see cref="ByteKernels"/>).
    /// </summary>
    /// <param name="groups">Groups.</param>
    /// <param name="scales">Scales; zeros behind the keys.</param>
    /// <param name="keys">Keys that there are.</param>
    /// <param name="greatest">Receives the greatest of each group.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static float Scales(int groups, float* scales, int keys, float* greatest)
    {
        var spread = 1f;
        for (var group = 0; group < groups; group++)
        {
            var (highs, sums) = (Vector512<float>.Zero, Vector512<float>.Zero);
            for (var key = 0; key < keys; key += Keys)
            {
                var scale = Vector512.Load(scales + key);
                highs = Vector512.MaxNative(highs, scale);
                sums += scale;
            }

            var high = VectorMath.Max(highs);
            var factor = Vector512.Create(high is >= ScaleMin and <= ScaleMax ? 1 / high : 0);
            for (var key = 0; key < keys; key += Keys)
            {
                (Vector512.Load(scales + key) * factor).Store(scales + key);
            }

            var sum = VectorMath.Sum(sums);
            spread = sum > 0 ? MathF.Max(spread, high * keys / sum) : spread;
            greatest[group] = high;
            scales += KeyTiles.TileKeys;
        }

        return spread / ByteSoftmax.HeavyShare;
    }

    /// <summary>64 latents of four keys to four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Interleave(byte* rows, long stride, byte* target)
    {
        if (Avx512BW.IsSupported)
        {
            var (r0, r1) = (Vector512.Load(rows), Vector512.Load(rows + stride));
            var (r2, r3) = (Vector512.Load(rows + (2 * stride)), Vector512.Load(rows + (3 * stride)));
            var (low01, high01) = (Avx512BW.UnpackLow(r0, r1).AsUInt16(), Avx512BW.UnpackHigh(r0, r1).AsUInt16());
            var (low23, high23) = (Avx512BW.UnpackLow(r2, r3).AsUInt16(), Avx512BW.UnpackHigh(r2, r3).AsUInt16());
            Store(target, 0, Avx512BW.UnpackLow(low01, low23), Avx512BW.UnpackHigh(low01, low23));
            Store(target, 1, Avx512BW.UnpackLow(high01, high23), Avx512BW.UnpackHigh(high01, high23));
        }
        else
        {
            InterleaveByQuarters(rows, stride, target);
        }
    }

    /// <summary>The same with vectors of 16 bytes.</summary>
    internal static void InterleaveByQuarters(byte* rows, long stride, byte* target)
    {
        const int Quarter = 16;
        for (var at = 0; at < VectorBytes; at += Quarter)
        {
            var (low01, high01) = Pairs(rows + at, stride);
            var (low23, high23) = Pairs(rows + (2 * stride) + at, stride);
            Pairs(low01, low23, target + at);
            Pairs(high01, high23, target + ByteTileShape.HalfGroupBytes + at);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(byte* target, in WordColumns columns)
    {
        columns.W0.Store((uint*)target);
        columns.W1.Store((uint*)(target + ByteTileShape.StepBytes));
        columns.W2.Store((uint*)(target + (2 * ByteTileShape.StepBytes)));
        columns.W3.Store((uint*)(target + (3 * ByteTileShape.StepBytes)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(byte* target, int half, Vector512<ushort> first, Vector512<ushort> second)
    {
        first.AsByte().Store(target + (half * ByteTileShape.HalfGroupBytes));
        second.AsByte().Store(target + (half * ByteTileShape.HalfGroupBytes) + VectorBytes);
    }

    /// <summary>Bytes of two rows in turn.</summary>
    private static (Vector128<ushort> Low, Vector128<ushort> High) Pairs(byte* rows, long stride)
    {
        const int Bits = 8;
        var (a, b) = (Vector128.Widen(Vector128.Load(rows)), Vector128.Widen(Vector128.Load(rows + stride)));
        return (a.Lower | (b.Lower << Bits), a.Upper | (b.Upper << Bits));
    }

    /// <summary>Pairs of bytes in turn, to this vector of the target and to the next.</summary>
    private static void Pairs(Vector128<ushort> first, Vector128<ushort> second, byte* target)
    {
        const int Bits = 16;
        var (a, b) = (Vector128.Widen(first), Vector128.Widen(second));
        (a.Lower | (b.Lower << Bits)).Store((uint*)target);
        (a.Upper | (b.Upper << Bits)).Store((uint*)(target + VectorBytes));
    }
}
