using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models;

/// <summary>Sees which experts the tokens of a pass chose in a layer, token after token.</summary>
internal delegate void RoutingObserver(int layer, ReadOnlySpan<int> chosen);

/// <summary>
/// The forward pass of a DeepSeek-V3 / Kimi-K2 text network over a paged KV pool: multi-head latent attention with
/// YaRN, leading dense layers, then mixtures of experts. A row's result depends on the tokens of its own sequence only.
/// Used by one thread at a time.
/// </summary>
public sealed class KimiModel : IDisposable
{
    private readonly IKernels _kernels;
    private readonly TensorData _embedding;
    private readonly float[] _outputNorm;
    private readonly LinearWeight _outputHead;
    private readonly LayerWeights[] _layers;
    private readonly ExpertRouter?[] _routers;
    private readonly ForwardScratch _scratch;
    private readonly AttentionLayer _attention;
    private readonly ExpertLayer? _experts;

    /// <summary>Loads the weights of a model into a kernel set's form.</summary>
    /// <param name="source">The model; it must stay open, since weights that are not unpacked are read from it.</param>
    /// <param name="kernels">Where products are computed; it must outlive the model.</param>
    /// <param name="rowsMax">Most tokens in a forward pass.</param>
    /// <param name="logitsRowsMax">Most rows of logits in a forward pass.</param>
    /// <param name="progress">Told how far loading is, layer after layer.</param>
    /// <exception cref="ModelFileException">A tensor is missing or has another shape or type.</exception>
    public KimiModel(
        ModelSource source,
        IKernels kernels,
        int rowsMax,
        int logitsRowsMax,
        IProgress<LoadProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        var config = source.Config;
        Config = config;
        RowsMax = rowsMax;
        _kernels = kernels;
        var loader = new WeightLoader(source, kernels, progress);
        _embedding = loader.Embedding();
        _outputNorm = loader.OutputNorm();
        _outputHead = loader.OutputHead();
        _layers = new LayerWeights[config.LayerCount];
        _routers = new ExpertRouter?[config.LayerCount];
        for (var layer = 0; layer < _layers.Length; layer++)
        {
            _layers[layer] = loader.Layer(layer);
            var experts = _layers[layer].Experts;
            _routers[layer] = experts is null ? null : new ExpertRouter(config, experts.SelectionBias);
        }

        _scratch = new ForwardScratch(config, rowsMax, logitsRowsMax);
        _attention = new AttentionLayer(config, kernels, _scratch);
        _experts = config.DenseLayerCount < config.LayerCount ? new ExpertLayer(config, kernels, rowsMax) : null;
    }

    /// <summary>Dimensions and constants.</summary>
    public KimiConfig Config { get; }

    /// <summary>Most tokens in a forward pass.</summary>
    public int RowsMax { get; }

    /// <summary>Told of the experts of each layer; null where nobody asks.</summary>
    internal RoutingObserver? RoutingObserver { get; set; }

    /// <summary>The layout of this model's KV blocks.</summary>
    public static KvLayout LayoutOf(KimiConfig config, int blockTokens, KvElementType type = KvElementType.F32)
    {
        ArgumentNullException.ThrowIfNull(config);
        return new KvLayout(type, config.LayerCount, config.KvLoraRank, config.RopeDimension, blockTokens);
    }

    /// <summary>
    /// Computes a batch: writes the KV of its tokens into the pool and returns the logits that it asked for,
    /// <c>[LogitsRowCount][VocabularySize]</c>, valid until the next call.
    /// </summary>
    /// <param name="batch">The tokens.</param>
    /// <param name="kv">The pool.</param>
    /// <param name="layerWritten">
    /// Told of each layer, in order, when the batch's KV of that layer stands in the pool and before its attention is
    /// computed, so that what it starts runs beside most of the layer. Of a cancelled slice the values mean nothing.
    /// </param>
    /// <exception cref="ArgumentException">The batch is empty, larger than allowed, or has a bad token id.</exception>
    public MatrixView Forward(ForwardBatch batch, PagedKvMemory kv, Action<int>? layerWritten = null)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(kv);
        Check(batch);
        var x = _scratch.Residual.View(batch.RowCount);
        for (var row = 0; row < batch.RowCount; row++)
        {
            _embedding.DecodeRow(batch.Tokens[row], x.Row(row));
        }

        for (var layer = 0; layer < _layers.Length && !batch.IsCancelled(); layer++)
        {
            _attention.Forward(layer, _layers[layer], batch, kv, x, layerWritten);
            FeedForward(layer, x);
        }

        return Logits(batch, x);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var layer in _layers)
        {
            layer.Dispose();
        }

        _outputHead.Dispose();
        _scratch.Dispose();
        _experts?.Dispose();
    }

    private void Check(ForwardBatch batch)
    {
        if (batch.RowCount < 1 || batch.RowCount > RowsMax)
        {
            throw new ArgumentException($"{batch.RowCount} rows; a forward pass has 1 to {RowsMax}", nameof(batch));
        }

        foreach (var token in batch.Tokens)
        {
            if ((uint)token >= (uint)Config.VocabularySize)
            {
                throw new ArgumentException($"token {token}; ids are 0 to {Config.VocabularySize - 1}", nameof(batch));
            }
        }
    }

    private void FeedForward(int layer, in MatrixView x)
    {
        var weights = _layers[layer];
        var normed = _scratch.Normed.View(x.Rows);
        _kernels.RmsNorm(x, weights.FeedForwardNorm, Config.RmsNormEpsilon, normed);
        if (weights.Dense is { } dense)
        {
            _kernels.FeedForward(normed, dense, x);
        }
        else
        {
            _experts!.Forward(normed, weights.Experts!, _routers[layer]!, x);
            RoutingObserver?.Invoke(layer, _experts.Chosen(x.Rows));
        }
    }

    private MatrixView Logits(ForwardBatch batch, in MatrixView x)
    {
        var count = batch.LogitsRowCount;
        var logits = _scratch.Logits.View(count);
        if (count == 0)
        {
            return logits;
        }

        var last = _scratch.LastRows.View(count);
        foreach (ref readonly var slice in batch.Slices)
        {
            var firstRow = slice.FirstRow + slice.RowCount - slice.LogitsRowCount;
            for (var i = 0; i < slice.LogitsRowCount; i++)
            {
                x.Row(firstRow + i).CopyTo(last.Row(slice.LogitsRow + i));
            }
        }

        _kernels.RmsNorm(last, _outputNorm, Config.RmsNormEpsilon, last);
        _kernels.MatMul(last, _outputHead, logits);
        return logits;
    }
}
