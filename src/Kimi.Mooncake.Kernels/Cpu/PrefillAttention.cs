using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Causal attention in the expanded form. Tiles of keys at fixed absolute positions are taken one after another: their
/// keys and values are made for all heads, then every row that sees the tile advances its softmax by it.
/// </summary>
/// <remarks>
/// Keys beyond the last position are zeros and hidden keys have weight 0, so blocks of rows and the end of the call
/// leave no trace in a row's bits. Scratch grows with the rows of a call, never with the context.
/// </remarks>
internal sealed unsafe class PrefillAttention : IDisposable
{
    private const int TileKeysMax = 512;
    private const long TileBytesMax = 32L << 20;
    private const int RowsPerTask = 64;
    private const int Panel = MicroKernels.PanelColumns;

    // Keeps the rows of a score tile out of each other's cache sets.
    private const int ScorePaddingValues = 16;

    private readonly WorkerTeam _team;
    private readonly TeamTask _transpose;
    private readonly TeamTask _expand;
    private readonly TeamTask _attend;
    private readonly TeamTask _finish;
    private readonly SingleKvRows _cached = new();
    private readonly Scratch _latentScratch = new();
    private readonly Scratch _keyScratch = new();
    private readonly Scratch _valueScratch = new();
    private readonly Scratch _sumScratch = new();
    private readonly Scratch _stateScratch = new();
    private readonly Scratch _scoreScratch = new();
    private readonly Scratch _weightScratch = new();

    private PanelAttentionWeight _weight = null!;
    private AttentionShape _shape = null!;
    private MatrixView _q;
    private MatrixView _output;
    private int _firstPosition;
    private int _endPosition;
    private int _tileKeys;
    private int _tileStart;
    private int _firstRow;
    private float _scale;
    private float* _latents;
    private float* _keys;
    private float* _values;
    private float* _sums;
    private float* _maxima;
    private float* _weights;
    private float* _scores;
    private float* _heads;
    private int _panels;

    internal PrefillAttention(WorkerTeam team)
    {
        _team = team;
        _transpose = TransposeTask;
        _expand = ExpandTask;
        _attend = AttendTask;
        _finish = FinishTask;
    }

    private int CachedColumns => _shape.LatentRank + _shape.RopeDimension;

    private int SumStride => _shape.HeadCount * _weight.PaddedValue;

    private int ScoreStride => _tileKeys + ScorePaddingValues;

    internal void Run(
        PanelAttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation)
    {
        (_weight, _shape, _q, _output) = (weight, weight.Shape, q, output);
        (_firstPosition, _endPosition) = (firstPosition, firstPosition + q.Rows);
        _tileKeys = TileKeys(weight);
        _scale = (float)(_shape.Scale / Math.Log(2));
        TakeScratch();
        fixed (int* table = blockTable)
        {
            _cached.Begin(kv, layer, table, _tileKeys);
            for (_tileStart = 0; _tileStart < _endPosition; _tileStart += _tileKeys)
            {
                if (cancellation.IsCancellationRequested)
                {
                    return;
                }

                RunTile();
            }
        }

        _team.Run(_finish, RowBlocks(_q.Rows), (long)_q.Rows * SumStride);
        GC.KeepAlive(weight);
        GC.KeepAlive(kv);
    }

    public void Dispose()
    {
        _cached.Dispose();
        _latentScratch.Dispose();
        _keyScratch.Dispose();
        _valueScratch.Dispose();
        _sumScratch.Dispose();
        _stateScratch.Dispose();
        _scoreScratch.Dispose();
        _weightScratch.Dispose();
    }

    /// <summary>Keys of a tile: a matter of the shape alone, as its edges show in the bits.</summary>
    private static int TileKeys(PanelAttentionWeight weight)
    {
        var shape = weight.Shape;
        var keyBytes = (long)shape.HeadCount * (shape.QueryDimension + weight.PaddedValue) * sizeof(float);
        var keys = TileKeysMax;
        while (keys > Panel && keys * keyBytes > TileBytesMax)
        {
            keys /= 2;
        }

        return keys;
    }

    private static int RowBlocks(int rows) => (rows + RowsPerTask - 1) / RowsPerTask;

    private void TakeScratch()
    {
        var heads = _shape.HeadCount;
        var states = (long)_q.Rows * heads;
        _latents = _latentScratch.Take((long)_tileKeys * CachedColumns);
        _keys = _keyScratch.Take((long)_tileKeys * heads * _shape.QueryDimension);
        _values = _valueScratch.Take((long)_tileKeys * heads * _weight.PaddedValue);
        _scores = _scoreScratch.Take((long)_team.MemberCount * RowsPerTask * ScoreStride);
        _heads = _weightScratch.Take(_team.MemberCount * _weight.ScratchValues);
        _sums = _sumScratch.Take((long)_q.Rows * SumStride);
        _maxima = _stateScratch.Take(2 * states);
        _weights = _maxima + states;
        NativeMemory.Clear(_sums, (nuint)((long)_q.Rows * SumStride * sizeof(float)));
        NativeMemory.Clear(_weights, (nuint)(states * sizeof(float)));
        for (var i = 0L; i < states; i++)
        {
            _maxima[i] = float.NegativeInfinity;
        }
    }

    private void RunTile()
    {
        var keys = (long)Math.Min(_tileKeys, _endPosition - _tileStart);
        _panels = (int)((keys + Panel - 1) / Panel);
        _cached.BeginTile(_tileStart);
        var heads = _shape.HeadCount;
        _team.Run(_transpose, _panels, keys * CachedColumns);
        var expansion = keys * heads * _shape.LatentRank * (_shape.NopeDimension + _shape.ValueDimension);
        _team.Run(_expand, _weight.ScratchValues == 0 ? _panels * heads : heads, expansion);
        _firstRow = Math.Max(0, _tileStart - _firstPosition);
        var rows = _q.Rows - _firstRow;
        var attention = keys * rows * heads * (_shape.QueryDimension + _shape.ValueDimension);
        _team.Run(_attend, RowBlocks(rows) * heads, attention);
    }

    /// <summary>The cached values of 32 keys, one column for each key; zeros beyond the last position.</summary>
    private void TransposeTask(int task, int member)
    {
        var panel = _latents + ((long)task * CachedColumns * Panel);
        var start = _tileStart + (task * Panel);
        if (_endPosition - start < Panel)
        {
            new Span<float>(panel, CachedColumns * Panel).Clear();
        }

        // A group of keys lies in one block: block sizes are multiples of 8.
        _cached.Decode(start, Math.Min(Panel, _endPosition - start));
        for (var key = 0; key < Math.Min(Panel, _endPosition - start); key += Transposition.Rows)
        {
            Transposition.Turn(
                _cached.At(start + key), CachedColumns, Math.Min(Transposition.Rows, _endPosition - start - key),
                CachedColumns, panel + key, Panel);
        }
    }

    /// <summary>One panel of one head, or all panels of a head whose projections have to be made first.</summary>
    private void ExpandTask(int task, int member)
    {
        var (panel, head) = Math.DivRem(task, _shape.HeadCount);
        var scratch = _heads + (member * _weight.ScratchValues);
        var keyRows = _weight.KeyRows(head, scratch);
        var valueColumns = _weight.ValueColumns(head, scratch);
        for (var end = _weight.ScratchValues == 0 ? panel + 1 : _panels; panel < end; panel++)
        {
            ExpandPanel(panel, head, keyRows, valueColumns);
        }
    }

    /// <summary>Keys <c>[nope + rope][32]</c> and values <c>[32][value]</c> of one head.</summary>
    private void ExpandPanel(int panel, int head, float* keyRows, float* valueColumns)
    {
        var latents = _latents + ((long)panel * CachedColumns * Panel);
        var keys = Keys(head, panel);
        var nope = _shape.NopeDimension;
        MicroKernels.Multiply(
            keyRows, _shape.LatentRank, nope, latents, Panel, _shape.LatentRank, keys, Panel, Panel,
            accumulate: false);
        var rotated = _shape.RopeDimension * Panel;
        new ReadOnlySpan<float>(latents + (_shape.LatentRank * Panel), rotated)
            .CopyTo(new Span<float>(keys + (nope * Panel), rotated));

        for (var key = panel * Panel; key < (panel + 1) * Panel; key += MicroKernels.TileRows)
        {
            var written = Math.Clamp(_endPosition - _tileStart - key, 0, MicroKernels.TileRows);
            var values = Values(head) + ((long)key * _weight.PaddedValue);
            if (written > 0)
            {
                MicroKernels.Multiply(
                    _cached.At(_tileStart + key), CachedColumns, written, valueColumns, _weight.PaddedValue,
                    _shape.LatentRank, values, _weight.PaddedValue, _weight.PaddedValue, accumulate: false);
            }

            new Span<float>(
                values + (written * _weight.PaddedValue), (MicroKernels.TileRows - written) * _weight.PaddedValue)
                .Clear();
        }
    }

    /// <summary>A block of rows of one head over the tile; heads in turn, so that its keys stay in cache.</summary>
    private void AttendTask(int task, int member)
    {
        var blocks = RowBlocks(_q.Rows - _firstRow);
        var (head, turn) = Math.DivRem(task, blocks);

        // Blocks on the diagonal are the cheap ones and come last.
        var row = _firstRow + ((blocks - 1 - turn) * RowsPerTask);
        var rows = Math.Min(RowsPerTask, _q.Rows - row);
        var lastVisible = Math.Min(_firstPosition + row + rows, _tileStart + _tileKeys) - 1 - _tileStart;
        var panels = (lastVisible / Panel) + 1;
        var width = panels * Panel;
        var scores = _scores + ((long)member * RowsPerTask * ScoreStride);
        var q = _q.Data + ((long)row * _q.Stride) + (head * _shape.QueryDimension);
        for (var panel = 0; panel < panels; panel++)
        {
            MicroKernels.Multiply(
                q, _q.Stride, rows, Keys(head, panel), Panel, _shape.QueryDimension,
                scores + (panel * Panel), ScoreStride, Panel, accumulate: false);
        }

        var sums = _sums + ((long)row * SumStride) + (head * _weight.PaddedValue);
        for (var r = 0; r < rows; r++)
        {
            var state = ((long)(row + r) * _shape.HeadCount) + head;
            var visible = Math.Min(_firstPosition + row + r + 1 - _tileStart, _tileKeys);
            OnlineSoftmax.Advance(
                scores + ((long)r * ScoreStride), visible, width, _scale, _maxima + state, _weights + state,
                sums + ((long)r * SumStride), _weight.PaddedValue);
        }

        MicroKernels.Multiply(
            scores, ScoreStride, rows, Values(head), _weight.PaddedValue, width, sums, SumStride,
            _weight.PaddedValue, accumulate: true);
    }

    private void FinishTask(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _q.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            for (var head = 0; head < _shape.HeadCount; head++)
            {
                var factor = 1 / _weights[((long)row * _shape.HeadCount) + head];
                var sums = _sums + ((long)row * SumStride) + (head * _weight.PaddedValue);
                var output = _output.Data + ((long)row * _output.Stride) + (head * _shape.ValueDimension);
                for (var d = 0; d < _shape.ValueDimension; d++)
                {
                    // A sum of zeros can be -0 or +0 by what else was in the tile; adding +0 makes it +0.
                    output[d] = (sums[d] * factor) + 0f;
                }
            }
        }
    }

    private float* Keys(int head, int panel) =>
        _keys + ((((long)head * _tileKeys / Panel) + panel) * _shape.QueryDimension * Panel);

    private float* Values(int head) => _values + ((long)head * _tileKeys * _weight.PaddedValue);
}
