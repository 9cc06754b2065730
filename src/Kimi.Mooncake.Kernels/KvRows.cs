using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels;

/// <summary>Rows of cached values as a <see cref="KvLayout"/> stores them: to and from singles and bfloat16.</summary>
internal static unsafe class KvRows
{
    private const int Lanes = 16;
    private const float Q8Max = 127;

    private const float ScaleMin = 1e-37f;
    private const float ScaleMax = 1e36f;

    // 2^-100: the reciprocal of a smaller scale would not be a number.
    private const float Q8MagnitudeMin = 7.8886091e-31f;

    /// <summary>Stores the latent and the rotated key as a row.</summary>
    internal static void FromSingle(KvLayout layout, float* values, byte* row)
    {
        var count = layout.ValuesPerTokenAndLayer;
        switch (layout.ElementType)
        {
            case KvElementType.F32:
                Unsafe.CopyBlockUnaligned(row, values, (uint)count * sizeof(float));
                break;
            case KvElementType.BF16:
                ActivationRows.EncodeBf16(values, count, (ushort*)row, count);
                break;
            default:
                var rope = Q8Rope(layout, row);
                var bytes = Q8Bytes(layout, row);
                ActivationRows.EncodeBf16(
                    values + layout.LatentRank, layout.RopeDimension, rope, layout.RopeDimension);
                for (var group = 0; group < layout.Q8Groups; group++)
                {
                    var first = group * KvLayout.Q8GroupValues;
                    ((float*)row)[group] = EncodeGroup(values + first, GroupValues(layout, first), bytes + first);
                }

                new Span<byte>(bytes + layout.LatentRank, Padding(layout, row, bytes)).Clear();
                break;
        }
    }

    /// <summary>The stored values as singles, exactly.</summary>
    internal static void ToSingle(KvLayout layout, byte* row, float* target)
    {
        var count = layout.ValuesPerTokenAndLayer;
        switch (layout.ElementType)
        {
            case KvElementType.F32:
                Unsafe.CopyBlockUnaligned(target, row, (uint)count * sizeof(float));
                break;
            case KvElementType.BF16:
                Widen((ushort*)row, count, target);
                break;
            default:
                var rope = Q8Rope(layout, row);
                var bytes = Q8Bytes(layout, row);
                Widen(rope, layout.RopeDimension, target + layout.LatentRank);
                for (var group = 0; group < layout.Q8Groups; group++)
                {
                    var first = group * KvLayout.Q8GroupValues;
                    DecodeGroup(((float*)row)[group], bytes + first, GroupValues(layout, first), target + first);
                }

                break;
        }
    }

    /// <summary>The stored values as bfloat16: copied where they are, else the singles rounded once.</summary>
    internal static void ToBf16(KvLayout layout, byte* row, ushort* target)
    {
        var count = layout.ValuesPerTokenAndLayer;
        switch (layout.ElementType)
        {
            case KvElementType.F32:
                ActivationRows.EncodeBf16((float*)row, count, target, count);
                break;
            case KvElementType.BF16:
                Unsafe.CopyBlockUnaligned(target, row, (uint)count * sizeof(ushort));
                break;
            default:
                var rope = Q8Rope(layout, row);
                var bytes = Q8Bytes(layout, row);
                Unsafe.CopyBlockUnaligned(
                    target + layout.LatentRank, rope, (uint)layout.RopeDimension * sizeof(ushort));
                for (var group = 0; group < layout.Q8Groups; group++)
                {
                    var first = group * KvLayout.Q8GroupValues;
                    RoundGroup(((float*)row)[group], bytes + first, GroupValues(layout, first), target + first);
                }

                break;
        }
    }

    private static ushort* Q8Rope(KvLayout layout, byte* row) => (ushort*)(row + (layout.Q8Groups * sizeof(float)));

    private static sbyte* Q8Bytes(KvLayout layout, byte* row) =>
        (sbyte*)(Q8Rope(layout, row) + layout.RopeDimension);

    private static int GroupValues(KvLayout layout, int first) =>
        Math.Min(KvLayout.Q8GroupValues, layout.LatentRank - first);

    private static int Padding(KvLayout layout, byte* row, sbyte* bytes) =>
        layout.BytesPerTokenAndLayer - (int)((byte*)bytes - row) - layout.LatentRank;

    /// <summary>Signed bytes of up to 64 values; their scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static float EncodeGroup(float* values, int count, sbyte* target)
    {
        var group = stackalloc float[KvLayout.Q8GroupValues];
        if (count < KvLayout.Q8GroupValues)
        {
            new Span<float>(group, KvLayout.Q8GroupValues).Clear();
            new ReadOnlySpan<float>(values, count).CopyTo(new Span<float>(group, count));
            values = group;
        }

        // Not the native maximum: a value that is no number must be seen.
        var largest = Vector512<float>.Zero;
        for (var i = 0; i < KvLayout.Q8GroupValues; i += Lanes)
        {
            largest = Vector512.Max(largest, Vector512.Abs(Vector512.Load(values + i)));
        }

        var eight = Vector256.Max(largest.GetLower(), largest.GetUpper());
        var four = Vector128.Max(eight.GetLower(), eight.GetUpper());
        var max = MathF.Max(
            MathF.Max(four.GetElement(0), four.GetElement(1)), MathF.Max(four.GetElement(2), four.GetElement(3)));

        if (max < Q8MagnitudeMin)
        {
            new Span<sbyte>(target, count).Clear();
            return 0;
        }

        var factor = Vector512.Create(Q8Max / max);
        var bytes = stackalloc sbyte[KvLayout.Q8GroupValues];
        for (var i = 0; i < KvLayout.Q8GroupValues; i += Lanes)
        {
            var whole = Vector512.ConvertToInt32(Vector512.Round(Vector512.Load(values + i) * factor));
            var words = Vector256.Narrow(whole.GetLower(), whole.GetUpper());
            Vector128.Narrow(words.GetLower(), words.GetUpper()).Store(bytes + i);
        }

        new ReadOnlySpan<sbyte>(bytes, count).CopyTo(new Span<sbyte>(target, count));
        return max / Q8Max;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RoundGroup(float scale, sbyte* bytes, int count, ushort* target)
    {
        // Products of such a scale are normal numbers or zeros, of which none is too large.
        if (count == KvLayout.Q8GroupValues && scale is >= ScaleMin and <= ScaleMax)
        {
            var factor = Vector512.Create(scale);
            for (var i = 0; i < KvLayout.Q8GroupValues; i += 2 * Lanes)
            {
                Vector512.Narrow(
                    RoundedBits(Vector512.ConvertToSingle(Whole(bytes + i)) * factor),
                    RoundedBits(Vector512.ConvertToSingle(Whole(bytes + i + Lanes)) * factor)).Store(target + i);
            }

            return;
        }

        var single = stackalloc float[KvLayout.Q8GroupValues];
        DecodeGroup(scale, bytes, count, single);
        ActivationRows.EncodeBf16(single, count, target, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> RoundedBits(Vector512<float> x)
    {
        var bits = x.AsUInt32();
        return (bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512<uint>.One)) >> 16;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Whole(sbyte* bytes)
    {
        if (Avx512F.IsSupported)
        {
            return Avx512F.ConvertToVector512Int32(Vector128.Load(bytes));
        }

        var (low, high) = Vector128.Widen(Vector128.Load(bytes));
        var (first, second) = (Vector128.Widen(low), Vector128.Widen(high));
        return Vector512.Create(
            Vector256.Create(first.Lower, first.Upper), Vector256.Create(second.Lower, second.Upper));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DecodeGroup(float scale, sbyte* bytes, int count, float* target)
    {
        var factor = Vector512.Create(scale);
        var i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            (Vector512.ConvertToSingle(Whole(bytes + i)) * factor).Store(target + i);
        }

        for (; i < count; i++)
        {
            target[i] = bytes[i] * scale;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen(ushort* values, int count, float* target)
    {
        var i = 0;
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            var (low, high) = Vector512.Widen(Vector512.Load(values + i));
            Vector512.ShiftLeft(low, 16).AsSingle().Store(target + i);
            Vector512.ShiftLeft(high, 16).AsSingle().Store(target + i + Lanes);
        }

        for (; i < count; i++)
        {
            target[i] = BitConverter.UInt32BitsToSingle((uint)values[i] << 16);
        }
    }
}
