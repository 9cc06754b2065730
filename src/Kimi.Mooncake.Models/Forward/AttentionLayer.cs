using System.Numerics.Tensors;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>The multi-head latent attention of one forward pass.</summary>
internal sealed class AttentionLayer(KimiConfig config, IKernels kernels, ForwardScratch scratch)
{
    private readonly KimiConfig _config = config;
    private readonly IKernels _kernels = kernels;
    private readonly ForwardScratch _scratch = scratch;
    private readonly double[] _ropeFrequencies = config.RopeFrequencies();
    private readonly float _rotationScale = (float)(config.Yarn?.RotationScale ?? 1);
    private DecodeRow[] _decodeRows = new DecodeRow[16];

    /// <summary>Adds a layer's attention for each row of <paramref name="x"/> to it.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="batch">The tokens.</param>
    /// <param name="kv">The pool, which receives the tokens' KV.</param>
    /// <param name="x">The residual stream.</param>
    /// <param name="layerWritten">Told of the layer when the KV stands in the pool.</param>
    public void Forward(
        int layer,
        LayerWeights weights,
        ForwardBatch batch,
        PagedKvMemory kv,
        in MatrixView x,
        Action<int>? layerWritten)
    {
        var normed = _scratch.Normed.View(x.Rows);
        _kernels.RmsNorm(x, weights.AttentionNorm, _config.RmsNormEpsilon, normed);
        var q = Queries(weights, batch, normed);
        WriteKv(layer, weights, batch, kv);
        layerWritten?.Invoke(layer);
        var output = _scratch.AttentionOutput.View(x.Rows);
        Attend(layer, weights, batch, kv, q, output);
        _kernels.MatMulMany(output, new LinearProduct(weights.Output, x, IsAdded: true));
    }

    /// <summary>The queries; the rows of KV, not yet normed, come from the same input along with them.</summary>
    private MatrixView Queries(LayerWeights weights, ForwardBatch batch, in MatrixView normed)
    {
        var q = _scratch.Queries.View(normed.Rows);
        var kvDown = new LinearProduct(weights.KvDown, _scratch.KvRows.View(normed.Rows));
        if (weights.QueryDown is { } down)
        {
            var latent = _scratch.QueryLatent.View(normed.Rows);
            _kernels.MatMulMany(normed, new LinearProduct(down, latent), kvDown);
            _kernels.RmsNorm(latent, weights.QueryLatentNorm, _config.LatentNormEpsilon, latent);
            _kernels.MatMul(latent, weights.QueryUp, q);
        }
        else
        {
            _kernels.MatMulMany(normed, new LinearProduct(weights.QueryUp, q), kvDown);
        }

        var width = _config.NopeDimension + _config.RopeDimension;
        Rotate(q, batch, _config.NopeDimension, width, _config.HeadCount);
        return q;
    }

    private void Rotate(in MatrixView x, ForwardBatch batch, int firstColumn, int groupStride, int groupCount)
    {
        _kernels.Rope(x, batch.Positions, _ropeFrequencies, firstColumn, groupStride, groupCount);
        if (_rotationScale == 1)
        {
            return;
        }

        for (var row = 0; row < x.Rows; row++)
        {
            for (var group = 0; group < groupCount; group++)
            {
                var rotated = x.Row(row).Slice(firstColumn + (group * groupStride), _config.RopeDimension);
                TensorPrimitives.Multiply(rotated, _rotationScale, rotated);
            }
        }
    }

    private void WriteKv(int layer, LayerWeights weights, ForwardBatch batch, PagedKvMemory kv)
    {
        var rows = _scratch.KvRows.View(batch.RowCount);
        var latent = rows.ColumnSlice(0, _config.KvLoraRank);
        _kernels.RmsNorm(latent, weights.KvLatentNorm, _config.LatentNormEpsilon, latent);
        Rotate(rows, batch, _config.KvLoraRank, rows.Columns, 1);
        var blockTokens = kv.Layout.BlockTokens;
        foreach (ref readonly var slice in batch.Slices)
        {
            var table = batch.Tables.Slice(slice.TableOffset, slice.TableLength);
            for (var i = 0; i < slice.RowCount; i++)
            {
                var position = slice.FirstPosition + i;
                var block = table[position / blockTokens];
                kv.Write(block, layer, position % blockTokens, rows.Row(slice.FirstRow + i));
            }
        }
    }

    private void Attend(
        int layer,
        LayerWeights weights,
        ForwardBatch batch,
        PagedKvMemory kv,
        in MatrixView q,
        in MatrixView output)
    {
        var decodeRows = batch.DecodeRowCount;
        if (decodeRows > 0)
        {
            var rows = DecodeRows(decodeRows);
            for (var i = 0; i < decodeRows; i++)
            {
                rows[i] = new DecodeRow(batch.Slices[i].TableOffset, batch.Slices[i].FirstPosition + 1);
            }

            Absorbed(layer, weights, batch, kv, q, output, 0, rows);
        }

        foreach (ref readonly var slice in batch.Slices[decodeRows..])
        {
            var expanded = slice.RowCount - slice.AbsorbedRows;
            if (expanded > 0)
            {
                _kernels.PrefillAttention(
                    weights.KvUp,
                    kv,
                    layer,
                    batch.Tables.Slice(slice.TableOffset, slice.TableLength),
                    slice.FirstPosition,
                    q.Slice(slice.FirstRow, expanded),
                    output.Slice(slice.FirstRow, expanded),
                    slice.Cancellation);
            }

            if (slice.AbsorbedRows > 0 && !slice.Cancellation.IsCancellationRequested)
            {
                var rows = DecodeRows(slice.AbsorbedRows);
                for (var i = 0; i < rows.Length; i++)
                {
                    rows[i] = new DecodeRow(slice.TableOffset, slice.FirstPosition + expanded + i + 1);
                }

                Absorbed(layer, weights, batch, kv, q, output, slice.FirstRow + expanded, rows);
            }
        }
    }

    private void Absorbed(
        int layer,
        LayerWeights weights,
        ForwardBatch batch,
        PagedKvMemory kv,
        in MatrixView q,
        in MatrixView output,
        int firstRow,
        ReadOnlySpan<DecodeRow> rows) =>
        _kernels.DecodeAttention(
            weights.KvUp, kv, layer, batch.Tables, rows, q.Slice(firstRow, rows.Length),
            output.Slice(firstRow, rows.Length));

    private Span<DecodeRow> DecodeRows(int count)
    {
        if (_decodeRows.Length < count)
        {
            Array.Resize(ref _decodeRows, Math.Max(count, _decodeRows.Length * 2));
        }

        return _decodeRows.AsSpan(0, count);
    }
}
