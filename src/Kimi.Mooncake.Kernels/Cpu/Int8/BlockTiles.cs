using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>The bytes of 16 outputs of a tile from types with blocks of 32 values.</summary>
internal static unsafe class BlockTiles
{
    private const uint SignBits = 0x80808080;
    private const int WideBytes = WeightTile.SecondAt + WeightTile.ScaleBytes;
    private const int UpperGroups = 4 * WeightTile.GroupBytes;

    // Doubled values of E2M1 and 16, a byte for each code; the code of a negative zero is a zero.
    private const ulong DoubledLower = 0x1c18_1614_1312_1110;
    private const ulong DoubledUpper = 0x0408_0a0c_0d0e_0f10;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q8_0(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 34;
            rows.Fetch(block, 1, at, 34);
            Scale(rows.Words(at), scales);
            scales += WeightTile.SecondAt;
            rows.Columns(at + 2).Xor(SignBits).Store(target);
            rows.Columns(at + 18).Xor(SignBits).Store(target + UpperGroups);
            target += WeightTile.SecondAt;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q4_0(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 18;
            rows.Fetch(block, 1, at, 18);
            Scale(rows.Words(at), scales);
            scales += WeightTile.SecondAt;
            Nibbles(rows.Columns(at + 2), target);
            target += WeightTile.SecondAt;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q4_1(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 20;
            rows.Fetch(block, 1, at, 20);
            ScaleAndMinimum(rows.Words(at), scales);
            scales += WideBytes;
            Nibbles(rows.Columns(at + 4), target);
            target += WideBytes;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q5_0(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 22;
            rows.Fetch(block, 1, at, 22);
            Scale(rows.Words(at), scales);
            scales += WeightTile.SecondAt;
            Fifths(rows.Columns(at + 6), rows.Words(at + 2), target);
            target += WeightTile.SecondAt;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q5_1(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 24;
            rows.Fetch(block, 1, at, 24);
            ScaleAndMinimum(rows.Words(at), scales);
            scales += WideBytes;
            Fifths(rows.Columns(at + 8), rows.Words(at + 4), target);
            target += WideBytes;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Mxfp4(in TileRows rows, int blocks, byte* target, byte* scales)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 17;
            rows.Fetch(block, 1, at, 17);
            TileScales.HalfScales(rows.Words(at) & Vector512.Create(0xffu)).Store((float*)scales);
            scales += WeightTile.SecondAt;
            var words = rows.Columns(at + 1);
            Values(words.Low()).Store(target);
            Values(words.High()).Store(target + UpperGroups);
            target += WeightTile.SecondAt;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Int4(in TileRows rows, int blocks, byte* target)
    {
        for (var block = 0; block < blocks; block++)
        {
            var at = block * 16;
            rows.Fetch(block, 1, at, 16);
            var words = rows.Columns(at);
            Spread(words.W0, target);
            Spread(words.W1, target + (2 * WeightTile.GroupBytes));
            Spread(words.W2, target + (4 * WeightTile.GroupBytes));
            Spread(words.W3, target + (6 * WeightTile.GroupBytes));
            target += WeightTile.SecondAt;
        }
    }

    /// <summary>A half in the low part of each row's word.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(Vector512<uint> words, byte* target) =>
        TileScales.Singles(words & Vector512.Create(0xffffu)).Store((float*)target);

    /// <summary>The same, and in the high part a least value, which is a minimum of the other sign.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScaleAndMinimum(Vector512<uint> words, byte* target)
    {
        Scale(words, target);
        (-TileScales.Singles(words >>> 16)).Store((float*)(target + WeightTile.ScaleBytes));
    }

    /// <summary>Low nibbles are the first 16 values, high nibbles the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Nibbles(in WordColumns words, byte* target)
    {
        words.Low().Store(target);
        words.High().Store(target + UpperGroups);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fifths(in WordColumns words, Vector512<uint> bits, byte* target)
    {
        words.Low().Or(Fifths(bits)).Store(target);
        words.High().Or(Fifths(bits >>> 16)).Store(target + UpperGroups);
    }

    /// <summary>The low 16 bits of each word as the fifth bits of 16 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static WordColumns Fifths(Vector512<uint> bits) =>
        new(FifthsOfFour(bits), FifthsOfFour(bits >>> 4), FifthsOfFour(bits >>> 8), FifthsOfFour(bits >>> 12));

    // The product has bit i at 8 i + 4, among others.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> FifthsOfFour(Vector512<uint> bits) =>
        ((bits & Vector512.Create(15u)) * Vector512.Create(0x02040810u)) & Vector512.Create(0x10101010u);

    /// <summary>The eight nibbles of each word, ascending, as bytes: two vectors of four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Spread(Vector512<uint> words, byte* target)
    {
        var mask = Vector512.Create(0x0f0f0f0fu);
        if (Avx512Vbmi.IsSupported)
        {
            var lower = Vector512.Create(0x2c28_2420_0c08_0400ul).AsByte();
            var upper = Vector512.Create(0x3c38_3430_1c18_1410ul).AsByte();
            (Avx512Vbmi.MultiShift(lower, words.AsUInt64()).AsUInt32() & mask).Store((uint*)target);
            (Avx512Vbmi.MultiShift(upper, words.AsUInt64()).AsUInt32() & mask)
                .Store((uint*)(target + WeightTile.GroupBytes));
            return;
        }

        SpreadByShifts(words, target);
    }

    internal static void SpreadByShifts(Vector512<uint> words, byte* target)
    {
        FourNibbles(words & Vector512.Create(0xffffu)).Store((uint*)target);
        FourNibbles(words >>> 16).Store((uint*)(target + WeightTile.GroupBytes));
    }

    private static Vector512<uint> FourNibbles(Vector512<uint> words)
    {
        var bytes = (words | (words << 8)) & Vector512.Create(0x00ff00ffu);
        return (bytes | (bytes << 4)) & Vector512.Create(0x0f0f0f0fu);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static WordColumns Values(in WordColumns codes) =>
        new(Values(codes.W0), Values(codes.W1), Values(codes.W2), Values(codes.W3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Values(Vector512<uint> codes)
    {
        if (Avx512BW.IsSupported)
        {
            var table = Vector512.Create(
                DoubledLower, DoubledUpper, DoubledLower, DoubledUpper,
                DoubledLower, DoubledUpper, DoubledLower, DoubledUpper).AsByte();
            return Avx512BW.Shuffle(table, codes.AsByte()).AsUInt32();
        }

        return ValuesByQuarters(codes);
    }

    internal static Vector512<uint> ValuesByQuarters(Vector512<uint> codes)
    {
        var table = Vector128.Create(DoubledLower, DoubledUpper).AsByte();
        var (lower, upper) = (codes.AsByte().GetLower(), codes.AsByte().GetUpper());
        return Vector512.Create(
            Vector256.Create(
                Vector128.Shuffle(table, lower.GetLower()), Vector128.Shuffle(table, lower.GetUpper())),
            Vector256.Create(
                Vector128.Shuffle(table, upper.GetLower()), Vector128.Shuffle(table, upper.GetUpper())))
            .AsUInt32();
    }
}
