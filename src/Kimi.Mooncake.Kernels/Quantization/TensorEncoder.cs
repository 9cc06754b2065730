using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Quantization;

/// <summary>
/// Rounds rows of single-precision values to stored encodings. The types of ggml are rounded by the formulas of its
/// reference code (<c>quantize_row_*_ref</c>, compiled without fused operations), so that the bytes are the same.
/// </summary>
public static class TensorEncoder
{
    /// <summary>Greatest number of rows that share a block of FP8 scales.</summary>
    public const int Float8BlockRows = 128;

    /// <summary>Columns that share an FP8 scale.</summary>
    public const int Float8BlockColumns = 128;

    /// <summary>Whether <see cref="EncodeRow"/> knows the encoding.</summary>
    public static bool CanEncode(TensorType type) => type is TensorType.F32 or TensorType.F16 or TensorType.BF16
        or TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_K or TensorType.Q6_K or TensorType.MXFP4;

    /// <summary>Encodes a row.</summary>
    /// <param name="type">F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K or MXFP4.</param>
    /// <param name="values">Finite values, a whole number of blocks.</param>
    /// <param name="row">Receives <see cref="TensorTypes.RowBytes"/> bytes.</param>
    /// <exception cref="ArgumentException">
    /// Another encoding, no whole number of blocks, or too few bytes for them.
    /// </exception>
    /// <exception cref="InvalidDataException">A value is not finite or too large for the encoding.</exception>
    public static void EncodeRow(TensorType type, ReadOnlySpan<float> values, Span<byte> row)
    {
        if (!CanEncode(type))
        {
            throw new ArgumentException($"cannot write {type}", nameof(type));
        }

        var rowBytes = TensorTypes.RowBytes(type, values.Length);
        if (row.Length < rowBytes)
        {
            throw new ArgumentException($"{values.Length} values of {type} take {rowBytes} bytes, not {row.Length}");
        }

        CheckFinite(type, values);
        switch (type)
        {
            case TensorType.F32:
                MemoryMarshal.AsBytes(values).CopyTo(row);
                break;
            case TensorType.F16:
                Halves(values, row);
                break;
            case TensorType.BF16:
                BrainFloats(values, row);
                break;
            default:
                Blocks(type, values, row);
                break;
        }
    }

    /// <summary>
    /// FP8 with a scale of <c>largest magnitude / 448</c> for each 128 columns of up to 128 rows, values rounded to the
    /// nearest, ties to even.
    /// </summary>
    /// <param name="values">Rows, one after another; all that share the scales.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="encoded">Receives one byte for each value.</param>
    /// <param name="scales">Receives <c>columns / 128</c> factors, rounded up.</param>
    /// <exception cref="ArgumentException">Sizes do not fit each other.</exception>
    /// <exception cref="InvalidDataException">A value is not finite.</exception>
    public static void EncodeFloat8Rows(
        ReadOnlySpan<float> values, int columns, Span<byte> encoded, Span<float> scales)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        var (rows, rest) = Math.DivRem(values.Length, columns);
        var blocks = ((columns - 1) / Float8BlockColumns) + 1;
        if (rest != 0 || rows > Float8BlockRows || encoded.Length < values.Length || scales.Length < blocks)
        {
            throw new ArgumentException(
                $"{values.Length} values in rows of {columns} into {encoded.Length} bytes and {scales.Length} scales; "
                + $"expected at most {Float8BlockRows} whole rows, a byte for each value and {blocks} scales");
        }

        CheckFinite(TensorType.F8E4M3, values);
        for (var block = 0; block < blocks; block++)
        {
            var first = block * Float8BlockColumns;
            var count = Math.Min(Float8BlockColumns, columns - first);
            var largest = 0f;
            for (var row = 0; row < rows; row++)
            {
                largest = MathF.Max(largest, LargestMagnitude(values.Slice((row * columns) + first, count)));
            }

            // A quotient that underflows would make every value infinite.
            var scale = largest / Float8.Max;
            scales[block] = scale = scale > 0 ? scale : 1;
            for (var row = 0; row < rows; row++)
            {
                for (var i = (row * columns) + first; i < (row * columns) + first + count; i++)
                {
                    encoded[i] = Float8.Encode(values[i] / scale);
                }
            }
        }
    }

    /// <summary>
    /// compressed-tensors' INT4 in groups of 32: scale <c>largest magnitude / 7</c> as BF16, codes -7 to 7, values
    /// rounded to the nearest, ties to even.
    /// </summary>
    /// <param name="values">A row, a multiple of 32 values.</param>
    /// <param name="words">Receives four bits for each value.</param>
    /// <param name="scales">Receives the BF16 factors, one for each 32 values.</param>
    /// <exception cref="ArgumentException">Sizes do not fit each other.</exception>
    /// <exception cref="InvalidDataException">A value is not finite.</exception>
    public static void EncodeInt4Row(ReadOnlySpan<float> values, Span<byte> words, Span<ushort> scales)
    {
        var groups = values.Length / Int4.GroupValues;
        if (values.Length % Int4.GroupValues != 0 || words.Length < values.Length / 2 || scales.Length < groups)
        {
            throw new ArgumentException(
                $"{values.Length} values into {words.Length} bytes and {scales.Length} scales; expected a multiple of "
                + $"{Int4.GroupValues}, {values.Length / 2} bytes and {groups} scales");
        }

        CheckFinite(TensorType.Int4Group32, values);
        for (var group = 0; group < groups; group++)
        {
            scales[group] = Int4.EncodeGroup(
                values.Slice(group * Int4.GroupValues, Int4.GroupValues),
                words.Slice(group * Int4.GroupBytes, Int4.GroupBytes));
        }
    }

    /// <summary>
    /// The same integers and scales as Q4_0. Lossless where every scale is a half: for BF16 scales that is so from
    /// <c>2^-14</c> to 65,280, and mostly below. Rounding the decoded values to Q4_0 anew is not lossless.
    /// </summary>
    /// <param name="int4">Packed integers with scales.</param>
    /// <param name="row">Row to convert.</param>
    /// <param name="q4_0Row">Receives the row as Q4_0.</param>
    /// <param name="exact">Whether the row decodes to the same values.</param>
    /// <exception cref="ArgumentException">Not packed integers with scales, or too few bytes for the row.</exception>
    /// <exception cref="InvalidDataException">A scale is too large for a half, or no number.</exception>
#pragma warning disable CA1707 // The underscores belong to the format's name.
    public static void RepackInt4ToQ4_0(TensorData int4, long row, Span<byte> q4_0Row, out bool exact)
#pragma warning restore CA1707
    {
        if (int4.Type != TensorType.Int4Group32 || !int4.HasScales)
        {
            throw new ArgumentException($"a tensor of {int4.Type}; expected packed integers with scales", nameof(int4));
        }

        if (q4_0Row.Length < TensorTypes.RowBytes(TensorType.Q4_0, int4.Columns))
        {
            throw new ArgumentException(
                $"{int4.Columns} values of Q4_0 do not fit in {q4_0Row.Length} bytes", nameof(q4_0Row));
        }

        exact = Repack(int4, row, q4_0Row, toTheEnd: true);
    }

    /// <summary>The same where the row decodes to the same values; else the destination is of no use.</summary>
    internal static bool TryRepackInt4(in TensorData int4, long row, Span<byte> q4_0Row) =>
        Repack(int4, row, q4_0Row, toTheEnd: false);

    private static bool Repack(in TensorData int4, long row, Span<byte> q4_0Row, bool toTheEnd)
    {
        var exact = true;
        var blockBytes = TensorTypes.BlockBytes(TensorType.Q4_0);
        var words = int4.StoredRow(row);
        for (var group = 0; group < int4.Columns / Int4.GroupValues; group++)
        {
            var scale = int4.Scale(row, group);
            var block = q4_0Row.Slice(group * blockBytes, blockBytes);
            exact &= float.IsFinite(scale)
                && BitConverter.SingleToUInt32Bits((float)(Half)scale) == BitConverter.SingleToUInt32Bits(scale);
            if (!exact && !toTheEnd)
            {
                return false;
            }

            _ = WriteHalf(block, scale);
            Int4.Reorder(words.Slice(group * Int4.GroupBytes, Int4.GroupBytes), block[sizeof(ushort)..]);
        }

        return exact;
    }

    internal static float LargestMagnitude(ReadOnlySpan<float> values)
    {
        var largest = 0f;
        foreach (var value in values)
        {
            largest = MathF.Max(largest, MathF.Abs(value));
        }

        return largest;
    }

    /// <summary>The upper half of a single, rounded to the nearest, ties to even.</summary>
    internal static ushort ToBrainFloat(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>A scale as a half.</summary>
    internal static float WriteHalf(Span<byte> target, float scale)
    {
        var half = (Half)scale;
        if (!Half.IsFinite(half))
        {
            throw new InvalidDataException($"a scale of {scale} does not fit in a half");
        }

        BinaryPrimitives.WriteHalfLittleEndian(target, half);
        return (float)half;
    }

    private static void CheckFinite(TensorType type, ReadOnlySpan<float> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i]))
            {
                throw new InvalidDataException($"value {i} of the row is {values[i]}, which does not fit in {type}");
            }
        }
    }

    private static void Halves(ReadOnlySpan<float> values, Span<byte> row)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var half = (Half)values[i];
            if (!Half.IsFinite(half))
            {
                throw new InvalidDataException($"value {i} of the row is {values[i]}, which does not fit in F16");
            }

            BinaryPrimitives.WriteHalfLittleEndian(row[(2 * i)..], half);
        }
    }

    private static void BrainFloats(ReadOnlySpan<float> values, Span<byte> row)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var bits = ToBrainFloat(values[i]);
            if (!float.IsFinite(BitConverter.UInt32BitsToSingle((uint)bits << 16)))
            {
                throw new InvalidDataException($"value {i} of the row is {values[i]}, which does not fit in BF16");
            }

            BinaryPrimitives.WriteUInt16LittleEndian(row[(2 * i)..], bits);
        }
    }

    private static void Blocks(TensorType type, ReadOnlySpan<float> values, Span<byte> row)
    {
        var (blockValues, blockBytes) = (TensorTypes.BlockValues(type), TensorTypes.BlockBytes(type));
        for (var block = 0; block < values.Length / blockValues; block++)
        {
            var source = values.Slice(block * blockValues, blockValues);
            var target = row.Slice(block * blockBytes, blockBytes);
            switch (type)
            {
                case TensorType.Q8_0:
                    BlockEncoder.Q8_0(source, target);
                    break;
                case TensorType.Q4_0:
                    BlockEncoder.Q4_0(source, target);
                    break;
                case TensorType.MXFP4:
                    Float4.Encode(source, target);
                    break;
                case TensorType.Q4_K:
                    KBlockEncoder.Q4(source, target);
                    break;
                default:
                    KBlockEncoder.Q6(source, target);
                    break;
            }
        }
    }
}
