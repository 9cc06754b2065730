using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels;

/// <content>Attention, exact with KV in single precision, or rounded with KV as bfloat16 or bytes.</content>
public sealed unsafe partial class KernelProbe
{
    // More than caches hold; layers of a model are as far apart.
    private const long KvSetBytes = 128L << 20;
    private const int LayersMax = 64;
    private const int PrefillRows = 512;

    private static readonly AttentionShape BuiltIn = new(4, 128, 32, 48, 160, 0.158f);
    private static readonly AttentionShape Bench = new(16, 128, 64, 128, 512, 0.1f);
    private static readonly AttentionShape K2 = new(64, 128, 64, 128, 512, 0.1f);

    /// <summary><see cref="IKernels.PrefillAttention"/> of the last rows of a context.</summary>
    internal KernelMeasurement MeasurePrefill(
        string model, AttentionShape shape, KvElementType type, int context, int rows)
    {
        ArgumentNullException.ThrowIfNull(shape);
        using var inputs = new AttentionInputs(this, shape, type, context, rows, sequences: 1, layers: 1);
        var pairs = ((double)rows * (context - rows)) + (0.5 * rows * (rows + 1));
        return Measure(
            PrefillName(model, type, context, rows),
            type == KvElementType.F32 ? Arithmetic.Fp32 : Arithmetic.Bf16,
            (2.0 * shape.HeadCount * (shape.QueryDimension + shape.ValueDimension) * pairs)
                + (context * ProjectionOperations(shape)),
            inputs.Bytes(rows),
            () => inputs.Kernels.PrefillAttention(
                inputs.Weights[0], inputs.Pool, 0, inputs.Tables, context - rows, inputs.Q.All, inputs.Output.All));
    }

    /// <summary><see cref="IKernels.DecodeAttention"/> of rows of as many sequences, layer after layer.</summary>
    internal KernelMeasurement MeasureDecode(
        string model, AttentionShape shape, KvElementType type, int context, int rows, long setBytes = KvSetBytes)
    {
        ArgumentNullException.ThrowIfNull(shape);
        var weightBytes = type == KvElementType.F32 ? sizeof(float) : sizeof(ushort);
        var layerBytes = ((long)LayoutOf(shape, type, 1).BytesPerTokenAndLayer * context * rows)
            + ((long)shape.LatentRank * shape.HeadCount * (shape.NopeDimension + shape.ValueDimension) * weightBytes);
        var layers = (int)Math.Clamp(setBytes / layerBytes, 1, LayersMax);
        using var inputs = new AttentionInputs(this, shape, type, context, rows, rows, layers);
        DecodeRow[] decodeRows = [.. Enumerable.Range(0, rows).Select(i => new DecodeRow(i * inputs.Blocks, context))];
        var found = Measure(
            DecodeName(model, type, context, rows),
            ArithmeticOf(type),
            layers * rows * ((2.0 * shape.HeadCount * ((2.0 * shape.LatentRank) + shape.RopeDimension) * context)
                + ProjectionOperations(shape)),
            inputs.Bytes(rows),
            () =>
            {
                for (var layer = 0; layer < layers; layer++)
                {
                    inputs.Kernels.DecodeAttention(
                        inputs.Weights[layer], inputs.Pool, layer, inputs.Tables, decodeRows, inputs.Q.All,
                        inputs.Output.All);
                }
            });
        return found with { Seconds = found.Seconds / layers };
    }

    private static double ProjectionOperations(AttentionShape shape) =>
        2.0 * shape.LatentRank * shape.HeadCount * (shape.NopeDimension + shape.ValueDimension);

    private static Arithmetic ArithmeticOf(KvElementType type) => type switch
    {
        KvElementType.F32 => Arithmetic.Fp32,
        KvElementType.BF16 => Arithmetic.Bf16,
        _ => Arithmetic.Int8,
    };

    private static KvLayout LayoutOf(AttentionShape shape, KvElementType type, int layers) =>
        new(type, layers, shape.LatentRank, shape.RopeDimension, KvLayout.BlockTokensDefault);

    private static string PrefillName(string model, KvElementType type, int context, int rows) =>
        $"prefill attention {Named(type)}, context {context}, {rows} rows, {model}";

    private static string DecodeName(string model, KvElementType type, int context, int rows) =>
        $"decode attention {Named(type)}, context {context}, {rows} rows, {model}";

    private static string Named(KvElementType type) => type switch
    {
        KvElementType.F32 => "fp32",
        KvElementType.BF16 => "bf16",
        _ => "q8",
    };

    private IEnumerable<KernelCase> Attentions()
    {
        (string Model, AttentionShape Shape, KvElementType Type, int[] Contexts)[] groups =
        [
            ("bench and moonlight", Bench, KvElementType.BF16, [2048, 8192]),
            ("bench and moonlight", Bench, KvElementType.Q8, [2048, 8192]),
            ("bench and moonlight", Bench, KvElementType.F32, [2048, 8192]),
            ("kimi-k2", K2, KvElementType.BF16, [2048, 8192]),
            ("kimi-k2", K2, KvElementType.Q8, [2048, 8192]),
            ("kimi-k2", K2, KvElementType.F32, [2048, 8192]),
            ("built-in", BuiltIn, KvElementType.F32, [32_768]),
        ];
        foreach (var (model, shape, type, contexts) in groups)
        {
            foreach (var context in contexts)
            {
                // Prefill makes bfloat16 of bytes as it reads them.
                if (type != KvElementType.Q8)
                {
                    yield return new KernelCase(
                        PrefillName(model, type, context, PrefillRows),
                        () => MeasurePrefill(model, shape, type, context, PrefillRows));
                }

                foreach (var rows in (int[])[1, 8])
                {
                    yield return new KernelCase(
                        DecodeName(model, type, context, rows),
                        () => MeasureDecode(model, shape, type, context, rows));
                }
            }
        }
    }

    /// <summary>Layers and sequences of random values.</summary>
    private sealed class AttentionInputs : IDisposable
    {
        private readonly double _storedBytes;

        internal AttentionInputs(
            KernelProbe probe, AttentionShape shape, KvElementType kvType, int context, int rows, int sequences,
            int layers)
        {
            var isFast = kvType != KvElementType.F32;
            Kernels = isFast ? probe._fast : probe._exact;
            var (keyRows, valueRows) = (shape.HeadCount * shape.LatentRank, shape.HeadCount * shape.ValueDimension);
            var type = isFast ? TensorType.BF16 : TensorType.F32;
            var keyBytes = TensorData.SizeBytes(type, keyRows, shape.NopeDimension);
            var valueBytes = TensorData.SizeBytes(type, valueRows, shape.LatentRank);
            var stored = probe.Stored(layers * (keyBytes + valueBytes), isNormal: false);
            Weights = [.. Enumerable.Range(0, layers).Select(layer => Kernels.PackAttention(
                AttentionProjections.FromSplit(
                    shape,
                    stored.Tensor(layer * (keyBytes + valueBytes), type, keyRows, shape.NopeDimension),
                    stored.Tensor((layer * (keyBytes + valueBytes)) + keyBytes, type, valueRows, shape.LatentRank))))];
            var layout = LayoutOf(shape, kvType, layers);
            Blocks = (context + layout.BlockTokens - 1) / layout.BlockTokens;
            Tables = [.. Enumerable.Range(0, Blocks * sequences)];
            Pool = new PagedKvMemory(layout, Tables.Length);
            Fill(probe._random, layout);
            Q = probe.Filled(rows, shape.HeadCount * shape.QueryDimension);
            Output = new Matrix(rows, valueRows);
            var kvBytes = (double)layout.BytesPerTokenAndLayer * context * sequences;
            _storedBytes = layers * (keyBytes + valueBytes + kvBytes);
        }

        internal CpuKernels Kernels { get; }

        internal AttentionWeight[] Weights { get; }

        internal PagedKvMemory Pool { get; }

        /// <summary>Blocks of a sequence.</summary>
        internal int Blocks { get; }

        internal int[] Tables { get; }

        internal Matrix Q { get; }

        internal Matrix Output { get; }

        public void Dispose()
        {
            Array.ForEach(Weights, weight => weight.Dispose());
            Pool.Dispose();
            Q.Dispose();
            Output.Dispose();
        }

        internal double Bytes(int rows) =>
            _storedBytes + ((double)Weights.Length * rows * (Q.Columns + Output.Columns) * sizeof(float));

        /// <summary>One block at random, and copies of it: attention takes as long with any finite values.</summary>
        private void Fill(Random random, KvLayout layout)
        {
            var values = new float[layout.ValuesPerTokenAndLayer];
            for (var layer = 0; layer < layout.LayerCount; layer++)
            {
                for (var token = 0; token < layout.BlockTokens; token++)
                {
                    foreach (ref var value in values.AsSpan())
                    {
                        value = (random.NextSingle() * 2) - 1;
                    }

                    Pool.Write(0, layer, token, values);
                }
            }

            foreach (var block in Tables.Skip(1))
            {
                Pool.Block(0).CopyTo(Pool.Block(block));
            }
        }
    }
}
