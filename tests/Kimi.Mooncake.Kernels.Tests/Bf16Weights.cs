using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>How weights are spread over exponents.</summary>
internal enum Bf16Spread
{
    /// <summary>As in models: few have other exponents than the seven.</summary>
    Normal,

    /// <summary>Four exponents at most.</summary>
    Even,

    /// <summary>A third has other exponents than the seven.</summary>
    Wide,

    /// <summary>Any bits: denormal numbers, infinities and what is no number, too.</summary>
    AnyBits,

    /// <summary>Zeros of both signs, whole rows of them, and a few numbers.</summary>
    Zeros,
}

/// <summary>Stored matrices of bfloat16 by how their exponents are spread.</summary>
internal static class Bf16Weights
{
    internal static TensorData Random(
        TestTensors tensors, int outputs, int inputs, Bf16Spread spread, out ushort[] values)
    {
        values = new ushort[outputs * inputs];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = Value(tensors, spread, i / inputs);
        }

        var buffer = tensors.Own(new NativeBuffer((long)values.Length * sizeof(ushort)));
        MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(buffer.Span(0, values.Length * sizeof(ushort)));
        return buffer.Tensor(0, TensorType.BF16, outputs, inputs);
    }

    private static ushort Value(TestTensors tensors, Bf16Spread spread, int row)
    {
        var bits = (ushort)tensors.Next(0, ushort.MaxValue);
        ushort OfExponent(int exponent) => (ushort)((bits & 0x807f) | (exponent << 7));
        switch (spread)
        {
            case Bf16Spread.Even:
                return OfExponent(120 + tensors.Next(0, 3));
            case Bf16Spread.Wide:
                return OfExponent(115 + tensors.Next(0, 9));
            case Bf16Spread.AnyBits:
                return bits;
            case Bf16Spread.Zeros:
                return row % 3 == 0 || tensors.Next(0, 9) > 0 ? (ushort)(bits & 0x8000) : OfExponent(row % 60 + 90);
            default:
                // The sum of some even ones is near enough to a normal one, of another scale for each row.
                var sum = Enumerable.Range(0, 6).Sum(_ => tensors.NextValue()) * (1 + (row % 5 * 0.2f));
                return (ushort)(BitConverter.SingleToUInt32Bits(sum) >> 16);
        }
    }
}
