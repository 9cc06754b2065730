using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Causal attention in the expanded form with factors rounded to bfloat16 and sums in single precision: queries,
/// latents, up-projections, keys, values and weights are rounded; scores, maxima, exponentials and all sums are not.
/// Tiles of keys at fixed absolute positions are taken one after another, as in <see cref="PrefillAttention"/>.
/// </summary>
/// <remarks>
/// Keys beyond the last position are zeros and hidden keys have weight 0, so blocks of rows and the end of the call
/// leave no trace in a row's bits. Scratch grows with the rows of a call, never with the context.
/// </remarks>
internal sealed unsafe class Bf16PrefillAttention : IDisposable
{
    private const int TileKeysMax = 512;
    private const int TileKeysMin = 128;
    private const long TileBytesMax = 32L << 20;
    private const int RowsPerTask = 96;
    private const int Panel = PanelWeight.PanelColumns;

    // Rounding a value takes as long as about this many multiply-adds.
    private const int EncodeWork = 16;

    // Keeps the rows of a score tile out of each other's cache sets.
    private const int ScorePaddingValues = 16;
    private const int LineValues = 16;

    private readonly WorkerTeam _team;
    private readonly Bf16Kernels _kernels;
    private readonly Bf16HeadWeights _weights;
    private readonly Bf16KeyTile _tile;
    private readonly TeamTask _encode;
    private readonly TeamTask _attend;
    private readonly TeamTask _finish;
    private readonly Scratch _queryScratch = new();
    private readonly Scratch _sumScratch = new();
    private readonly Scratch _stateScratch = new();
    private readonly Scratch _scoreScratch = new();

    private AttentionShape _shape = null!;
    private MatrixView _q;
    private MatrixView _output;
    private int _firstPosition;
    private int _tileKeys;
    private int _tileStart;
    private int _firstRow;
    private float _scale;
    private ushort* _queries;
    private float* _sums;
    private float* _maxima;
    private float* _totals;
    private float* _scores;

    internal Bf16PrefillAttention(WorkerTeam team, Bf16Kernels kernels)
    {
        (_team, _kernels) = (team, kernels);
        _weights = new Bf16HeadWeights(team);
        _tile = new Bf16KeyTile(team, kernels, _weights);
        _encode = Encode;
        _attend = Attend;
        _finish = Finish;
    }

    /// <summary>Values of a head's query: each part padded to pairs.</summary>
    private int QueryStride => 2 * _tile.KeyPairs;

    private int ValueStride => _weights.ValuePanels * Panel;

    /// <summary>Tasks of the tile.</summary>
    private int Blocks => RowBlocks(_q.Rows - _firstRow) * _shape.HeadCount;

    private int ScoreStride => _tileKeys + ScorePaddingValues;

    internal void Run(
        AttentionProjections projections,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation)
    {
        (_shape, _q, _output, _firstPosition) = (projections.Shape, q, output, firstPosition);
        _scale = (float)(_shape.Scale / Math.Log(2));
        _tileKeys = TileKeys(_shape);
        _weights.Make(projections);
        var end = firstPosition + q.Rows;
        fixed (int* table = blockTable)
        {
            _tile.Begin(_shape, kv, layer, table, _tileKeys);
            TakeScratch();
            _team.Run(_encode, RowBlocks(q.Rows), (long)q.Rows * q.Columns * EncodeWork);
            for (_tileStart = 0; _tileStart < end; _tileStart += _tileKeys)
            {
                if (cancellation.IsCancellationRequested)
                {
                    return;
                }

                RunTile(Math.Min(_tileKeys, end - _tileStart));
            }
        }

        _team.Run(_finish, RowBlocks(q.Rows), (long)q.Rows * _shape.HeadCount * ValueStride);
        GC.KeepAlive(kv);
    }

    public void Dispose()
    {
        _weights.Dispose();
        _tile.Dispose();
        _queryScratch.Dispose();
        _sumScratch.Dispose();
        _stateScratch.Dispose();
        _scoreScratch.Dispose();
    }

    /// <summary>Keys of a tile: a matter of the shape alone, as its edges show in the bits.</summary>
    private static int TileKeys(AttentionShape shape)
    {
        var keyBytes = (long)shape.HeadCount * (shape.QueryDimension + shape.ValueDimension) * sizeof(ushort);
        var keys = TileKeysMax;
        while (keys > TileKeysMin && keys * keyBytes > TileBytesMax)
        {
            keys /= 2;
        }

        return keys;
    }

    private static int RowBlocks(int rows) => (rows + RowsPerTask - 1) / RowsPerTask;

    private void TakeScratch()
    {
        var states = (long)_q.Rows * _shape.HeadCount;
        _queries = (ushort*)_queryScratch.Take(states * QueryStride / 2);
        _scores = _scoreScratch.Take((long)_team.MemberCount * RowsPerTask * ScoreStride);
        _sums = _sumScratch.Take(states * ValueStride);
        _maxima = _stateScratch.Take(2 * states);
        _totals = _maxima + states;
        NativeMemory.Clear(_totals, (nuint)(states * sizeof(float)));
        new Span<float>(_maxima, checked((int)states)).Fill(float.NegativeInfinity);
    }

    private void RunTile(int keys)
    {
        _tile.Make(_tileStart, keys);
        _firstRow = Math.Max(0, _tileStart - _firstPosition);
        var rows = _q.Rows - _firstRow;
        _team.Run(
            _attend, Blocks,
            (long)keys * rows * _shape.HeadCount * (_shape.QueryDimension + _shape.ValueDimension));
    }

    /// <summary>Queries <c>[head][row]</c>, and sums that are zeros.</summary>
    private void Encode(int task, int member)
    {
        var (nope, rope) = (_shape.NopeDimension, _shape.RopeDimension);
        var paddedNope = (nope + 1) / 2 * 2;
        var end = Math.Min((task + 1) * RowsPerTask, _q.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            for (var head = 0; head < _shape.HeadCount; head++)
            {
                var from = _q.Data + ((long)row * _q.Stride) + (head * _shape.QueryDimension);
                var target = _queries + (State(row, head) * QueryStride);
                ActivationRows.EncodeBf16(from, nope, target, paddedNope);
                ActivationRows.EncodeBf16(from + nope, rope, target + paddedNope, QueryStride - paddedNope);
                new Span<float>(_sums + (State(row, head) * ValueStride), ValueStride).Clear();
            }
        }
    }

    /// <summary>A block of rows of one head over the tile; heads in turn, so that its keys stay in cache.</summary>
    private void Attend(int task, int member)
    {
        var (head, row, rows) = Block(task);
        var state = State(row, head);
        var lastVisible = Math.Min(_firstPosition + row + rows, _tileStart + _tileKeys) - 1 - _tileStart;
        var panels = (lastVisible / Panel) + 1;
        var width = panels * Panel;
        var scores = _scores + ((long)member * RowsPerTask * ScoreStride);
        var sums = _sums + (state * ValueStride);
        for (var panel = 0; panel < panels; panel++)
        {
            // The sums come nearer meanwhile: there are too many for the caches to have kept them.
            Prefetch(sums, (long)rows * ValueStride, panel, panels);
            _kernels.Multiply(
                _queries + (state * QueryStride), QueryStride, rows, _tile.Keys(head, panel), _tile.KeyPairs,
                scores + (panel * Panel), ScoreStride, accumulate: false);
        }

        Weigh(row, head, rows, scores, width);
        var (nextHead, nextRow, nextRows) = Block(Math.Min(task + _team.MemberCount, Blocks - 1));
        var next = (float*)(_queries + (State(nextRow, nextHead) * QueryStride));
        for (var panel = 0; panel < _weights.ValuePanels; panel++)
        {
            // As do the queries that this thread is likely to take next.
            Prefetch(next, (long)nextRows * QueryStride / 2, panel, _weights.ValuePanels);
            _kernels.Multiply(
                (ushort*)scores, 2 * ScoreStride, rows, _tile.Values(head, panel), width / 2,
                sums + (panel * Panel), ValueStride, accumulate: true);
        }
    }

    /// <summary>Scores of a block of rows become weights.</summary>
    private void Weigh(int row, int head, int rows, float* scores, int width)
    {
        for (var r = 0; r < rows; r++)
        {
            var visible = Math.Min(_firstPosition + row + r + 1 - _tileStart, width);
            new Span<float>(scores + ((long)r * ScoreStride) + visible, width - visible)
                .Fill(float.NegativeInfinity);
        }

        var state = State(row, head);
        _kernels.Advance(new Bf16SoftmaxRows
        {
            Scores = scores,
            ScoreStrideBytes = ScoreStride * sizeof(float),
            Rows = rows,
            ScoreBytes = width * sizeof(float),
            Maxima = _maxima + state,
            Sums = _totals + state,
            Values = _sums + (state * ValueStride),
            ValueStrideBytes = ValueStride * sizeof(float),
            ValueBytes = ValueStride * sizeof(float),
            Scale = _scale,
        });
    }

    /// <summary>Rows of a task; those on the diagonal are the cheap ones and come last.</summary>
    private (int Head, int FirstRow, int Rows) Block(int task)
    {
        var blocks = RowBlocks(_q.Rows - _firstRow);
        var (head, turn) = Math.DivRem(task, blocks);
        var row = _firstRow + ((blocks - 1 - turn) * RowsPerTask);
        return (head, row, Math.Min(RowsPerTask, _q.Rows - row));
    }

    /// <summary>Asks for one of some parts of an array.</summary>
    private static void Prefetch(float* values, long count, int part, int parts)
    {
        var end = values + (count * (part + 1) / parts);
        for (var at = values + (count * part / parts); at < end && Sse.IsSupported; at += LineValues)
        {
            Sse.Prefetch1(at);
        }
    }

    private void Finish(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _q.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            for (var head = 0; head < _shape.HeadCount; head++)
            {
                var factor = 1 / _totals[State(row, head)];
                var sums = _sums + (State(row, head) * ValueStride);
                var output = _output.Data + ((long)row * _output.Stride) + (head * _shape.ValueDimension);
                for (var d = 0; d < _shape.ValueDimension; d++)
                {
                    // A sum of zeros can be -0 or +0 by what else was in the tile; adding +0 makes it +0.
                    output[d] = (sums[d] * factor) + 0f;
                }
            }
        }
    }

    private long State(int row, int head) => ((long)head * _q.Rows) + row;
}
