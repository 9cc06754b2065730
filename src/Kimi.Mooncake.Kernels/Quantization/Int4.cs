using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Quantization;

/// <summary>
/// compressed-tensors' groups of 32 integers of 4 bits: value <c>k</c> lies in bits <c>4 * (k % 8)</c> of word
/// <c>k / 8</c>, 8 more than it is.
/// </summary>
internal static class Int4
{
    internal const int GroupValues = 32;
    internal const int GroupBytes = 16;
    private const int CodeMax = 7;
    private const int Offset = 8;

    /// <summary>Encodes a group and returns its scale as BF16.</summary>
    internal static ushort EncodeGroup(ReadOnlySpan<float> values, Span<byte> words)
    {
        var bits = TensorEncoder.ToBrainFloat(TensorEncoder.LargestMagnitude(values) / CodeMax);
        var scale = BitConverter.UInt32BitsToSingle((uint)bits << 16);
        for (var i = 0; i < GroupBytes; i++)
        {
            words[i] = (byte)(Code(values[2 * i], scale) | (Code(values[(2 * i) + 1], scale) << 4));
        }

        return bits;
    }

    /// <summary>A group in Q4_0's order: low nibbles are the first 16 values, high ones the others.</summary>
    internal static void Reorder(ReadOnlySpan<byte> words, Span<byte> target)
    {
        // A byte has two consecutive values, which become two bytes.
        var (low, high) = Vector128.Widen(Vector128.Create(words));
        (Nibbles(low) | (Nibbles(high) << 4)).AsByte().CopyTo(target);
    }

    private static Vector128<ushort> Nibbles(Vector128<ushort> bytes) =>
        (bytes | (bytes << 4)) & Vector128.Create((ushort)0x0f0f);

    private static int Code(float value, float scale) =>
        scale == 0 ? Offset : Math.Clamp((int)MathF.Round(value / scale), -CodeMax, CodeMax) + Offset;
}
