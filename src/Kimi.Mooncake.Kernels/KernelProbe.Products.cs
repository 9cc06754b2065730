using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels;

/// <content>Products with weights as they are stored.</content>
public sealed unsafe partial class KernelProbe
{
    // More than caches hold, so that one weight after another comes from memory.
    private const long StoredSetBytes = 256L << 20;

    // Products of more rows are bound by arithmetic wherever the weight comes from.
    private const int SetRowsMax = 8;
    private const ushort Int4ScaleAsBf16 = 0x3a83;
    private const float NormalScale = 1e-4f;

    private static readonly (TensorType Type, bool IsRepacked)[] ProductTypes =
    [
        (TensorType.Q8_0, false), (TensorType.Q6_K, false), (TensorType.Q4_K, false), (TensorType.Q4_0, false),
        (TensorType.Int4Group32, false), (TensorType.Int4Group32, true), (TensorType.BF16, false),
        (TensorType.BF16, true), (TensorType.F32, false),
    ];

    private static readonly (string Layer, int Input, int Output)[] ProductShapes =
    [
        ("kimi-k2 expert", 7168, 2048), ("moonlight expert", 2048, 1408), ("bench attention output", 2048, 1536),
    ];

    private static readonly int[] ProductRows = [1, 8, 64, 512];

    private NativeBuffer? _stored;
    private bool _storedIsNormal;
    private NativeBuffer? _scales;

    /// <summary>A product of some rows with one weight after another of a set.</summary>
    /// <param name="type">Encoding of the weights.</param>
    /// <param name="input">Values of an input row.</param>
    /// <param name="output">Values of an output row.</param>
    /// <param name="rows">Rows of a product.</param>
    /// <param name="layer">What has such dimensions.</param>
    /// <param name="setBytes">Stored bytes of all weights, which are at least one.</param>
    /// <param name="isRepacked">Whether they are repacked, as when a model is loaded that there is room for.</param>
    internal KernelMeasurement MeasureProduct(
        TensorType type, int input, int output, int rows, string layer, long setBytes = StoredSetBytes,
        bool isRepacked = false)
    {
        var tensors = WeightSet(type, input, output, setBytes);
        var kernels = isRepacked ? _repacking : _fast;
        var left = kernels.RepackBytesLeft;
        var weights = Array.ConvertAll(tensors, tensor => kernels.Pack(tensor));
        var repacked = left - kernels.RepackBytesLeft;
        using var x = Filled(rows, input);
        using var y = new Matrix(rows, output);
        var found = Measure(
            ProductName(type, isRepacked, input, output, rows, layer),
            ArithmeticOf(type),
            2.0 * rows * input * output * weights.Length,
            (repacked > 0 ? repacked : tensors.Sum(tensor => tensor.StoredBytes))
                + ((double)weights.Length * rows * (input + output) * sizeof(float)),
            () =>
            {
                foreach (var weight in weights)
                {
                    kernels.MatMul(x.All, weight, y.All);
                }
            });
        Array.ForEach(weights, weight => weight.Dispose());
        return found with { Seconds = found.Seconds / weights.Length };
    }

    /// <summary>The weights that a product works through, no byte of which is another's, scales included.</summary>
    internal TensorData[] WeightSet(TensorType type, int input, int output, long setBytes)
    {
        var isPacked = type == TensorType.Int4Group32;
        var valueBytes = TensorData.SizeBytes(type, output, input);
        var groups = input / TensorTypes.BlockValues(TensorType.Int4Group32);
        var scaleBytes = isPacked ? TensorData.SizeBytes(TensorType.BF16, output, groups) : 0;
        var tensors = new TensorData[Math.Max(1, setBytes / (valueBytes + scaleBytes))];
        var stored = Stored(tensors.Length * valueBytes, isNormal: type == TensorType.BF16);
        var scales = isPacked ? Scales(tensors.Length * scaleBytes) : null;
        for (var i = 0; i < tensors.Length; i++)
        {
            var values = stored.Tensor(i * valueBytes, type, output, input);
            tensors[i] = scales is null
                ? values
                : TensorData.PackedInt4(values, scales.Tensor(i * scaleBytes, TensorType.BF16, output, groups));
        }

        return tensors;
    }

    private static string ProductName(
        TensorType type, bool isRepacked, int input, int output, int rows, string layer) =>
        $"product {type}{(isRepacked ? " repacked" : "")}, {rows} x {input} x {output}, {layer}";

    private static Arithmetic ArithmeticOf(TensorType type) => type switch
    {
        TensorType.F32 or TensorType.F16 or TensorType.F8E4M3 or TensorType.Q2_K or TensorType.Q3_K => Arithmetic.Fp32,
        TensorType.BF16 => Arithmetic.Bf16,
        _ => Arithmetic.Int8,
    };

    private IEnumerable<KernelCase> Products() =>
        from shape in ProductShapes
        from type in ProductTypes
        from rows in ProductRows
        select new KernelCase(
            ProductName(type.Type, type.IsRepacked, shape.Input, shape.Output, rows, shape.Layer),
            () => MeasureProduct(
                type.Type, shape.Input, shape.Output, rows, shape.Layer, rows <= SetRowsMax ? StoredSetBytes : 1,
                type.IsRepacked));

    /// <summary>Random bytes as weights of any type, or bfloat16 numbers as they are in models.</summary>
    private NativeBuffer Stored(long sizeBytes, bool isNormal)
    {
        if (_stored is not null && _stored.SizeBytes >= sizeBytes && _storedIsNormal == isNormal)
        {
            return _stored;
        }

        _stored?.Dispose();
        _stored = new NativeBuffer(sizeBytes);
        _storedIsNormal = isNormal;
        var bytes = _stored.Span(0, checked((int)sizeBytes));
        _random.NextBytes(bytes);
        if (isNormal)
        {
            FillNormal(MemoryMarshal.Cast<byte, ushort>(bytes));
            return _stored;
        }

        foreach (ref var value in MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            // Halves and singles of which no product is infinite.
            value &= 0xbfbf_bfbf_bfbf_bfbf;
        }

        return _stored;
    }

    /// <summary>Sums of some random bytes each are near enough to normally distributed.</summary>
    private void FillNormal(Span<ushort> values)
    {
        const int Terms = 4;
        const float Mean = (Terms * byte.MaxValue / 2f) + 0.25f;
        Span<byte> random = stackalloc byte[1 << 12];
        for (var first = 0; first < values.Length; first += random.Length / Terms)
        {
            _random.NextBytes(random);
            var some = values.Slice(first, Math.Min(random.Length / Terms, values.Length - first));
            for (var i = 0; i < some.Length; i++)
            {
                var terms = random.Slice(i * Terms, Terms);
                var sum = terms[0] + terms[1] + terms[2] + terms[3] - Mean;
                some[i] = (ushort)(BitConverter.SingleToUInt32Bits(sum * NormalScale) >> 16);
            }
        }
    }

    /// <summary>Scales of packed integers.</summary>
    private NativeBuffer Scales(long sizeBytes)
    {
        if (_scales is null || _scales.SizeBytes < sizeBytes)
        {
            _scales?.Dispose();
            _scales = new NativeBuffer(sizeBytes);
            MemoryMarshal.Cast<byte, ushort>(_scales.Span(0, checked((int)sizeBytes))).Fill(Int4ScaleAsBf16);
        }

        return _scales;
    }
}
