namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>
/// Products of rows rounded to bytes with block-quantized weights, value by value: the definition that every fast path
/// must give the bits of.
/// </summary>
/// <remarks>
/// For each 32 values of a row <c>scale = max|x| / 127</c> and <c>a = round(x * (127 / max|x|))</c>, halves to even;
/// zeros where the largest is below 2^-120. An element is a chain over blocks ascending:
/// <c>acc = fma(sum of code * a, weight scale * scale, acc)</c>, twice where 16 values have a weight scale of their
/// own, then <c>acc = fma(minimum, -(scale * sum of a), acc)</c> where the encoding has minima.
/// </remarks>
internal static class QuantizedProducts
{
    private const int Values = QuantizedBlocks.Values;
    private const float Largest = 127;
    private const float Least = 7.52316385e-37f;

    /// <summary><c>y = x weight^T</c>.</summary>
    internal static void Multiply(in MatrixView x, in TensorData weight, in MatrixView y)
    {
        Span<int> codes = stackalloc int[Values];
        Span<int> inputs = stackalloc int[Values];
        var minima = weight.Type is TensorType.Q4_1 or TensorType.Q5_1 or TensorType.Q4_K or TensorType.Q5_K;
        var halves = weight.Type == TensorType.Q6_K;
        for (var row = 0; row < x.Rows; row++)
        {
            for (var output = 0; output < weight.Rows; output++)
            {
                var acc = 0f;
                for (var block = 0; block < weight.Columns / Values; block++)
                {
                    var scale = Round(x.Row(row).Slice(block * Values, Values), inputs);
                    var (lower, upper, minimum) = QuantizedBlocks.Read(weight, output, block, codes);
                    if (halves)
                    {
                        acc = MathF.FusedMultiplyAdd(Dot(codes[..16], inputs[..16]), lower * scale, acc);
                        acc = MathF.FusedMultiplyAdd(Dot(codes[16..], inputs[16..]), upper * scale, acc);
                    }
                    else
                    {
                        acc = MathF.FusedMultiplyAdd(Dot(codes, inputs), lower * scale, acc);
                    }

                    if (minima)
                    {
                        acc = MathF.FusedMultiplyAdd(minimum, -(scale * Sum(inputs)), acc);
                    }
                }

                y.Row(row)[output] = acc;
            }
        }
    }

    /// <summary>Rounds 32 values to bytes and returns their scale.</summary>
    internal static float Round(ReadOnlySpan<float> x, Span<int> bytes)
    {
        var largest = 0f;
        foreach (var value in x)
        {
            largest = MathF.Max(largest, MathF.Abs(value));
        }

        var factor = largest >= Least ? Largest / largest : 0;
        for (var i = 0; i < Values; i++)
        {
            bytes[i] = (int)MathF.Round(x[i] * factor);
        }

        return largest / Largest;
    }

    private static int Dot(ReadOnlySpan<int> codes, ReadOnlySpan<int> inputs)
    {
        var sum = 0;
        for (var i = 0; i < codes.Length; i++)
        {
            sum += codes[i] * inputs[i];
        }

        return sum;
    }

    private static int Sum(ReadOnlySpan<int> inputs)
    {
        var sum = 0;
        foreach (var input in inputs)
        {
            sum += input;
        }

        return sum;
    }
}
