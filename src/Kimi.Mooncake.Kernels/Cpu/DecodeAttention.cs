using System.Runtime.Intrinsics;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu.Absorbed;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Attention of single rows in the absorbed form. A row's context is cut into ranges of 1024 positions that are worked
/// on side by side; their partial results are merged in ascending order.
/// </summary>
internal sealed unsafe class DecodeAttention : IDisposable
{
    private const int TileKeys = 256;

    // Sixteen more than a tile, to keep the rows out of each other's cache sets.
    private const int ScoreStride = TileKeys + 16;
    private const int Lanes = MicroKernels.Lanes;

    private readonly WorkerTeam _team;
    private readonly TeamTask _absorb;
    private readonly TeamTask _attend;
    private readonly TeamTask _merge;
    private readonly TeamTask _raise;
    private readonly DecodeRanges _ranges = new();
    private readonly Scratch _queryScratch = new();
    private readonly Scratch _partialScratch = new();
    private readonly Scratch _latentScratch = new();
    private readonly Scratch _memberScratch = new();
    private readonly Scratch _weightScratch = new();

    private PanelAttentionWeight _weight = null!;
    private AttentionShape _shape = null!;
    private PagedKvMemory _kv = null!;
    private int* _tables;
    private DecodeRow* _rows;
    private MatrixView _q;
    private MatrixView _output;
    private int _layer;
    private float _scale;
    private float* _queries;
    private float* _partials;
    private float* _latents;
    private float* _members;
    private float* _heads;

    internal DecodeAttention(WorkerTeam team)
    {
        _team = team;
        _absorb = AbsorbTask;
        _attend = AttendTask;
        _merge = MergeTask;
        _raise = RaiseTask;
    }

    private int CachedColumns => _shape.LatentRank + _shape.RopeDimension;

    /// <summary>Whether cached rows can be multiplied with as they lie in the pool.</summary>
    private bool IsInPlace =>
        _kv.Layout.ElementType == KvElementType.F32 && _weight.PaddedCached == CachedColumns;

    private int QueryStride => _shape.HeadCount * _weight.PaddedCached;

    private int LatentStride => _shape.HeadCount * _weight.PaddedLatent;

    /// <summary>Values of a range's result: each head's latent, then all maxima, then all sums.</summary>
    private int PartialStride => LatentStride + PanelAttentionWeight.Padded(2 * _shape.HeadCount);

    /// <summary>Values that a member needs for scores and decoded keys, or for one tile of output.</summary>
    private long MemberStride =>
        ((long)_shape.HeadCount * ScoreStride) + ((long)TileKeys * _weight.PaddedCached)
        + (MicroKernels.TileRows * (long)_weight.PaddedValue);

    internal void Run(
        PanelAttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTables,
        ReadOnlySpan<DecodeRow> rows,
        in MatrixView q,
        in MatrixView output)
    {
        (_weight, _shape, _kv, _layer, _q, _output) = (weight, weight.Shape, kv, layer, q, output);
        _scale = (float)(_shape.Scale / Math.Log(2));
        _ranges.Cut(rows);
        _queries = _queryScratch.Take((long)rows.Length * QueryStride);
        _partials = _partialScratch.Take((long)_ranges.Count * PartialStride);
        _latents = _latentScratch.Take((long)rows.Length * LatentStride);
        _heads = _weightScratch.Take(_team.MemberCount * weight.ScratchValues);
        _members = _memberScratch.Take(_team.MemberCount * MemberStride);
        fixed (int* tables = blockTables)
        fixed (DecodeRow* rowData = rows)
        {
            _tables = tables;
            _rows = rowData;
            var heads = _shape.HeadCount;
            var latentWork = (long)rows.Length * heads * _shape.LatentRank;
            _team.Run(_absorb, heads, latentWork * _shape.NopeDimension);
            _team.Run(_attend, _ranges.Count, _ranges.Keys * heads * (CachedColumns + _shape.LatentRank));
            _team.Run(_merge, rows.Length, (long)_ranges.Count * LatentStride);
            _team.Run(_raise, heads, latentWork * _shape.ValueDimension);
        }

        GC.KeepAlive(weight);
        GC.KeepAlive(kv);
    }

    public void Dispose()
    {
        _queryScratch.Dispose();
        _partialScratch.Dispose();
        _latentScratch.Dispose();
        _memberScratch.Dispose();
        _weightScratch.Dispose();
    }

    /// <summary>All rows' queries of a head in the latent space; the rotated part behind, then zeros.</summary>
    private void AbsorbTask(int head, int member)
    {
        var nope = _shape.NopeDimension;
        var q = _q.Data + (head * _shape.QueryDimension);
        var queries = _queries + (head * _weight.PaddedCached);
        var key = _weight.KeyColumns(head, _heads + (member * _weight.ScratchValues));
        MicroKernels.Multiply(
            q, _q.Stride, _q.Rows, key, _weight.PaddedLatent, nope,
            queries, QueryStride, _weight.PaddedLatent, accumulate: false);
        for (var row = 0; row < _q.Rows; row++)
        {
            var rest = new Span<float>(
                queries + ((long)row * QueryStride) + _shape.LatentRank, _weight.PaddedCached - _shape.LatentRank);
            new ReadOnlySpan<float>(q + ((long)row * _q.Stride) + nope, _shape.RopeDimension).CopyTo(rest);
            rest[_shape.RopeDimension..].Clear();
        }
    }

    /// <summary>One range of one row, all heads.</summary>
    private void AttendTask(int task, int member)
    {
        var (row, start, end) = _ranges[task];
        var partial = _partials + ((long)task * PartialStride);
        var heads = _shape.HeadCount;
        new Span<float>(partial, PartialStride).Clear();
        new Span<float>(partial + LatentStride, heads).Fill(float.NegativeInfinity);
        for (var tile = start; tile < end; tile += TileKeys)
        {
            AttendTile(row, tile, Math.Min(TileKeys, end - tile), partial, _members + (member * MemberStride));
        }
    }

    private void AttendTile(int row, int start, int count, float* partial, float* scores)
    {
        var (heads, columns) = (_shape.HeadCount, _weight.PaddedCached);
        var padded = scores + ((long)heads * ScoreStride);
        var run = Math.Min(_kv.Layout.BlockTokens, TileKeys);
        for (var key = 0; key < count; key += run)
        {
            var keys = Math.Min(run, count - key);
            Decode(row, start, key, keys, padded);
            ScoreKernels.Score(
                _queries + ((long)row * QueryStride), heads, Keys(row, start, key, padded), keys, columns,
                scores + key, ScoreStride);
        }

        for (var head = 0; head < heads; head++)
        {
            OnlineSoftmax.Advance(
                scores + ((long)head * ScoreStride), count, count, _scale, partial + LatentStride + head,
                partial + LatentStride + heads + head, partial + (head * _weight.PaddedLatent), _weight.PaddedLatent);
        }

        for (var key = 0; key < count; key += run)
        {
            MicroKernels.Multiply(
                scores + key, ScoreStride, heads, Keys(row, start, key, padded), columns,
                Math.Min(run, count - key), partial, _weight.PaddedLatent, _weight.PaddedLatent, accumulate: true);
        }
    }

    /// <summary>The keys of a block from <paramref name="key"/> of a tile: in place, or decoded if need be.</summary>
    private float* Keys(int row, int start, int key, float* padded) => IsInPlace
        ? (float*)Cached(row, start + key)
        : padded + ((long)key * _weight.PaddedCached);

    private void Decode(int row, int start, int key, int keys, float* padded)
    {
        if (IsInPlace)
        {
            return;
        }

        var (columns, rowBytes) = (_weight.PaddedCached, _kv.Layout.BytesPerTokenAndLayer);
        var cached = Cached(row, start + key);
        for (var i = 0; i < keys; i++)
        {
            var target = padded + ((long)(key + i) * columns);
            KvRows.ToSingle(_kv.Layout, cached + ((long)i * rowBytes), target);
            new Span<float>(target + CachedColumns, columns - CachedColumns).Clear();
        }
    }

    private byte* Cached(int row, int position)
    {
        var (block, token) = Math.DivRem(position, _kv.Layout.BlockTokens);
        return _kv.RowPointer(_tables[_rows[row].TableOffset + block], _layer, token);
    }

    /// <summary>The ranges of a row, ascending.</summary>
    private void MergeTask(int row, int member)
    {
        for (var head = 0; head < _shape.HeadCount; head++)
        {
            var state = LatentStride + head;
            var max = float.NegativeInfinity;
            for (var range = _ranges.First(row); range < _ranges.First(row + 1); range++)
            {
                max = MathF.Max(max, _partials[((long)range * PartialStride) + state]);
            }

            var latent = _latents + ((long)row * LatentStride) + (head * _weight.PaddedLatent);
            new Span<float>(latent, _weight.PaddedLatent).Clear();
            var sum = 0f;
            for (var range = _ranges.First(row); range < _ranges.First(row + 1); range++)
            {
                var partial = _partials + ((long)range * PartialStride);
                var factor = VectorMath.Exp2(Vector512.Create(partial[state] - max));
                sum = MathF.FusedMultiplyAdd(partial[state + _shape.HeadCount], factor.ToScalar(), sum);
                partial += head * _weight.PaddedLatent;
                for (var j = 0; j < _weight.PaddedLatent; j += Lanes)
                {
                    Vector512.FusedMultiplyAdd(Vector512.Load(partial + j), factor, Vector512.Load(latent + j))
                        .Store(latent + j);
                }
            }

            for (var j = 0; j < _weight.PaddedLatent; j += Lanes)
            {
                (Vector512.Load(latent + j) / Vector512.Create(sum)).Store(latent + j);
            }
        }
    }

    /// <summary>All rows' results of a head, raised from the latent space.</summary>
    private void RaiseTask(int head, int member)
    {
        var values = _weight.PaddedValue;
        var tile = _members + (member * MemberStride);
        var value = _weight.ValueColumns(head, _heads + (member * _weight.ScratchValues));
        for (var row = 0; row < _q.Rows; row += MicroKernels.TileRows)
        {
            var count = Math.Min(MicroKernels.TileRows, _q.Rows - row);
            MicroKernels.Multiply(
                _latents + ((long)row * LatentStride) + (head * _weight.PaddedLatent), LatentStride, count,
                value, values, _shape.LatentRank, tile, values, values, accumulate: false);
            for (var r = 0; r < count; r++)
            {
                var target = _output.Data + ((long)(row + r) * _output.Stride) + (head * _shape.ValueDimension);
                new ReadOnlySpan<float>(tile + (r * values), _shape.ValueDimension)
                    .CopyTo(new Span<float>(target, _shape.ValueDimension));
            }
        }
    }
}
