namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Attention of single rows in the absorbed form with rounded products, in bfloat16 or bytes as its tiles have it.
/// Queries are rounded once they are in the latent space, the weights of a tile as well. A row's context is cut into
/// ranges that are worked on side by side, where there are few of them by groups of heads too; results are merged in
/// ascending order.
/// </summary>
internal sealed unsafe partial class AbsorbedAttention : IDisposable
{
    private const int Group = KeyTiles.Heads;

    // Work is given in multiply-adds of single precision; bfloat16 takes a quarter of their time.
    private const int WorkShare = 4;

    // Members' working memory begins at a line.
    private const int StrideValues = 32;

    private readonly WorkerTeam _team;
    private readonly KeyTiles _tiles;
    private readonly TeamTask _absorb;
    private readonly TeamTask _attend;
    private readonly TeamTask _raise;
    private readonly ActivationRows[] _inputs;
    private readonly DecodeRanges _ranges = new();
    private readonly Scratch _queryScratch = new();
    private readonly Scratch _partialScratch = new();
    private readonly Scratch _memberScratch = new();

    private RoundedAttentionWeight _weight = null!;
    private AttentionShape _shape = null!;
    private PagedKvMemory _kv = null!;
    private int* _tables;
    private DecodeRow* _rows;
    private MatrixView _q;
    private MatrixView _output;
    private int _layer;
    private float _scale;
    private int _groups;
    private int _splits;
    private long _groupBytes;
    private int _sumStride;
    private byte* _queries;
    private float* _partials;
    private float* _members;
    private long _memberStride;

    internal AbsorbedAttention(WorkerTeam team, KeyTiles tiles)
    {
        _team = team;
        _tiles = tiles;
        _inputs = [.. Enumerable.Range(0, team.MemberCount).Select(_ => new ActivationRows())];
        _absorb = AbsorbTask;
        _attend = AttendTask;
        _raise = RaiseTask;
    }

    private int PaddedHeads => _groups * Group;

    /// <summary>Values of a range's result: each head's latent, then all maxima, then all sums.</summary>
    private long PartialStride => ((long)PaddedHeads * _sumStride) + (2 * PaddedHeads);

    internal void Run(
        RoundedAttentionWeight weight,
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
        _groups = (_shape.HeadCount + Group - 1) / Group;
        _groupBytes = _tiles.QueryGroupBytes(kv.Layout);
        _sumStride = _tiles.SumStride(kv.Layout);
        _splits = _ranges.Parts(_groups, _team.MemberCount);
        TakeScratch(rows.Length);
        fixed (int* tables = blockTables)
        fixed (DecodeRow* rowData = rows)
        {
            _tables = tables;
            _rows = rowData;
            var heads = _shape.HeadCount;
            var latentWork = (long)rows.Length * heads * _shape.LatentRank;
            weight.BeginKeys(_team, PaddedHeads);
            _team.Run(_absorb, PaddedHeads, latentWork * _shape.NopeDimension);
            _team.Run(
                _attend, _ranges.Count * _splits,
                _ranges.Keys * heads * (_shape.RopeDimension + (2 * _shape.LatentRank)) / WorkShare);
            weight.BeginValues(_team);
            _team.Run(
                _raise, heads, (latentWork * _shape.ValueDimension) + (_ranges.Count * (long)heads * _sumStride));
        }

        GC.KeepAlive(weight);
        GC.KeepAlive(kv);
    }

    public void Dispose()
    {
        foreach (var inputs in _inputs)
        {
            inputs.Dispose();
        }

        _queryScratch.Dispose();
        _partialScratch.Dispose();
        _memberScratch.Dispose();
    }

    private void TakeScratch(int rows)
    {
        // Latents of a head's rows, and outputs where they do not fit where they belong.
        var values = (long)rows * (_sumStride + _weight.RaisedColumns);
        _memberStride = Math.Max(
            _weight.AbsorbedScratchValues + _sumStride + values, _tiles.ScratchValues(_kv.Layout, _groups));
        _memberStride = (_memberStride + StrideValues - 1) / StrideValues * StrideValues;
        _queries = (byte*)_queryScratch.Take(rows * _groups * _groupBytes / sizeof(float));
        _partials = _partialScratch.Take(_ranges.Count * PartialStride);
        _members = _memberScratch.Take(_team.MemberCount * _memberStride);
    }

    private byte* Queries(int row, int group) => _queries + ((((long)row * _groups) + group) * _groupBytes);

    /// <summary>All rows' queries of a head in the latent space, the rotated part behind, rounded; zeros.</summary>
    private void AbsorbTask(int head, int member)
    {
        BringFirstTileNear(head, member);
        if (head >= _shape.HeadCount)
        {
            for (var row = 0; row < _q.Rows; row++)
            {
                _tiles.ClearQuery(_kv.Layout, Queries(row, head / Group), head % Group);
            }

            return;
        }

        var nope = _shape.NopeDimension;
        var latents = _members + (member * _memberStride);
        var q = _q.ColumnSlice(head * _shape.QueryDimension, _shape.QueryDimension);
        _weight.Absorb(
            head, q.ColumnSlice(0, nope), _inputs[member], latents, latents + ((long)_q.Rows * _sumStride),
            AfterAbsorbed(head));
        for (var row = 0; row < _q.Rows; row++)
        {
            _tiles.EncodeQuery(
                _kv.Layout, latents + ((long)row * _weight.AbsorbedColumns), q.Data + ((long)row * q.Stride) + nope,
                Queries(row, head / Group), head % Group);
        }
    }

    /// <summary>A share of the first tile that a member will attend to.</summary>
    private void BringFirstTileNear(int head, int member)
    {
        var members = _team.MemberCount;
        var share = head - TeamBoard.FirstOf(member, members, PaddedHeads);
        var shares = PaddedHeads / members;
        var task = TeamBoard.FirstOf(member, members, _ranges.Count * _splits);
        if ((uint)share < shares)
        {
            var tile = new LatentTile { Kv = _kv, Layer = _layer, RowBytes = _kv.Layout.BytesPerTokenAndLayer };
            SetNext(ref tile, task);
            KeyTiles.BringNear(tile, share, shares);
        }
    }

    /// <summary>Some heads over one range of one row.</summary>
    private void AttendTask(int task, int member)
    {
        var (index, split) = Math.DivRem(task, _splits);
        var (row, start, rangeEnd) = _ranges[index];
        var groups = (_groups + _splits - 1) / _splits;
        var (first, end) = (split * groups, Math.Min((split + 1) * groups, _groups));
        if (first >= end)
        {
            return;
        }

        var partial = _partials + (index * PartialStride);
        var maxima = partial + ((long)PaddedHeads * _sumStride);
        new Span<float>(partial + ((long)first * Group * _sumStride), (end - first) * Group * _sumStride).Clear();
        new Span<float>(maxima + (first * Group), (end - first) * Group).Fill(float.NegativeInfinity);
        new Span<float>(maxima + PaddedHeads + (first * Group), (end - first) * Group).Clear();
        var tile = new LatentTile
        {
            Kv = _kv,
            Layer = _layer,
            RowBytes = _kv.Layout.BytesPerTokenAndLayer,
            Table = _tables + _rows[row].TableOffset,
            Queries = Queries(row, first),
            Groups = end - first,
            Scale = _scale,
            Sums = partial + ((long)first * Group * _sumStride),
            SumStride = _sumStride,
            Maxima = maxima + (first * Group),
            WeightSums = maxima + PaddedHeads + (first * Group),
            Scratch = _members + (member * _memberStride),
        };
        for (; start < rangeEnd; start += KeyTiles.TileKeys)
        {
            (tile.Start, tile.Count) = (start, Math.Min(KeyTiles.TileKeys, rangeEnd - start));
            SetNext(ref tile, row, start + tile.Count, rangeEnd);
            if (tile.NextCount == 0)
            {
                SetNext(ref tile, task + 1);
            }

            _tiles.Attend(tile);
        }
    }

    /// <summary>The first tile of a task comes next, if there is such a task.</summary>
    private void SetNext(ref LatentTile tile, int task)
    {
        if (task < _ranges.Count * _splits)
        {
            var (row, start, end) = _ranges[task / _splits];
            SetNext(ref tile, row, start, end);
        }
    }

    private void SetNext(ref LatentTile tile, int row, int start, int end)
    {
        tile.NextTable = _tables + _rows[row].TableOffset;
        tile.NextStart = start;
        tile.NextCount = Math.Min(KeyTiles.TileKeys, end - start);
    }
}
