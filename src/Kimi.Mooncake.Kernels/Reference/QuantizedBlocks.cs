using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>
/// Blocks of 32 stored integers by the definition of their encoding: a value is <c>scale * code - minimum</c>, with a
/// scale of its own for the upper 16 where the encoding has groups of 16.
/// </summary>
internal static unsafe class QuantizedBlocks
{
    internal const int Values = 32;

    /// <summary>Reads a block of a row.</summary>
    /// <param name="data">Stored matrix of a block-quantized type.</param>
    /// <param name="row">Row.</param>
    /// <param name="block">Which 32 values of it.</param>
    /// <param name="codes">Receives the 32 integers, less what stands for zero.</param>
    internal static (float Scale, float UpperScale, float Minimum) Read(
        in TensorData data, long row, int block, Span<int> codes)
    {
        if (data.Type is TensorType.Q4_K or TensorType.Q5_K or TensorType.Q6_K)
        {
            var source = data.At(row, block / 8 * 256);
            return data.Type == TensorType.Q6_K ? Q6(source, block % 8, codes)
                : Shifted(source, block % 8, codes, data.Type == TensorType.Q5_K);
        }

        var at = data.At(row, block * Values);
        var half = ScalarDecoder.HalfAt(at);
        switch (data.Type)
        {
            case TensorType.Q8_0:
                for (var i = 0; i < Values; i++)
                {
                    codes[i] = (sbyte)at[2 + i];
                }

                return (half, half, 0);
            case TensorType.Q4_0:
                Nibbles(at + 2, 8, codes);
                return (half, half, 0);
            case TensorType.Q4_1:
                Nibbles(at + 4, 0, codes);
                return (half, half, -ScalarDecoder.HalfAt(at + 2));
            case TensorType.Q5_0:
                Nibbles(at + 6, 16, codes);
                Fifths(at + 2, codes);
                return (half, half, 0);
            case TensorType.Q5_1:
                Nibbles(at + 8, 0, codes);
                Fifths(at + 4, codes);
                return (half, half, -ScalarDecoder.HalfAt(at + 2));
            case TensorType.MXFP4:
                Nibbles(at + 1, 0, codes);
                foreach (ref var code in codes)
                {
                    code = Float4.DoubledValues[code];
                }

                return (Float4.HalfScale(at[0]), Float4.HalfScale(at[0]), 0);
            case TensorType.Int4Group32:
                for (var i = 0; i < Values; i++)
                {
                    codes[i] = ((at[i / 2] >> (i % 2 * 4)) & 15) - 8;
                }

                return (data.Scale(row, block), data.Scale(row, block), 0);
            default:
                throw new ArgumentException($"a matrix of {data.Type}; expected blocks of integers", nameof(data));
        }
    }

    /// <summary>Low halves of 16 bytes are the first 16 values, high halves the others.</summary>
    private static void Nibbles(byte* source, int zero, Span<int> codes)
    {
        for (var i = 0; i < Values / 2; i++)
        {
            codes[i] = (source[i] & 15) - zero;
            codes[i + (Values / 2)] = (source[i] >> 4) - zero;
        }
    }

    private static void Fifths(byte* source, Span<int> codes)
    {
        for (var i = 0; i < Values; i++)
        {
            codes[i] += ((source[i / 8] >> (i % 8)) & 1) * 16;
        }
    }

    private static (float Scale, float UpperScale, float Minimum) Shifted(
        byte* source, int block, Span<int> codes, bool fifths)
    {
        var (factor, least) = KBlockDecoder.ScaleAndMinimum(new ReadOnlySpan<byte>(source + 4, 12), block);
        var values = source + (fifths ? 48 : 16) + (block / 2 * Values);
        for (var i = 0; i < Values; i++)
        {
            codes[i] = (values[i] >> (block % 2 * 4)) & 15;
            codes[i] += fifths ? ((source[16 + i] >> block) & 1) * 16 : 0;
        }

        var scale = ScalarDecoder.HalfAt(source) * factor;
        return (scale, scale, ScalarDecoder.HalfAt(source + 2) * least);
    }

    private static (float Scale, float UpperScale, float Minimum) Q6(byte* source, int block, Span<int> codes)
    {
        var (half, quarter) = (block / 4, block % 4);
        for (var i = 0; i < Values; i++)
        {
            var low = (source[(half * 64) + (quarter % 2 * 32) + i] >> (quarter / 2 * 4)) & 15;
            var high = (source[128 + (half * 32) + i] >> (quarter * 2)) & 3;
            codes[i] = (low | (high << 4)) - 32;
        }

        var scale = ScalarDecoder.HalfAt(source + 208);
        var scales = (sbyte*)source + 192 + (2 * block);
        return (scale * scales[0], scale * scales[1], 0);
    }
}
