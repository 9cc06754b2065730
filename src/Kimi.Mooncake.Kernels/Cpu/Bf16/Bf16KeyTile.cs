namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// The keys and values of a tile of positions for all heads, as panels of bfloat16, made from the cached latents. What
/// lies beyond the last position is zeros. Memory grows to the largest tile and is kept.
/// </summary>
internal sealed unsafe class Bf16KeyTile : IDisposable
{
    private const int Panel = PanelWeight.PanelColumns;

    // Values of so many keys are made by a task, and their keys.
    private const int PanelsPerTask = 4;
    private const int TaskKeys = PanelsPerTask * Panel;

    private readonly WorkerTeam _team;
    private readonly Bf16Kernels _kernels;
    private readonly Bf16HeadWeights _weights;
    private readonly TeamTask _load;
    private readonly TeamTask _expand;
    private readonly Scratch _latentScratch = new();
    private readonly Scratch _columnScratch = new();
    private readonly Scratch _keyScratch = new();
    private readonly Scratch _valueScratch = new();
    private readonly Scratch _memberScratch = new();
    private AttentionShape _shape = null!;
    private PagedKvMemory _kv = null!;
    private int* _table;
    private int _layer;
    private int _keysMax;
    private int _start;
    private int _count;
    private ushort* _latents;
    private uint* _columns;
    private uint* _keys;
    private uint* _values;
    private float* _members;

    internal Bf16KeyTile(WorkerTeam team, Bf16Kernels kernels, Bf16HeadWeights weights)
    {
        (_team, _kernels, _weights) = (team, kernels, weights);
        _load = Load;
        _expand = Expand;
    }

    /// <summary>Pairs of a key's values: those not rotated, padded to whole pairs, then the rotated ones.</summary>
    internal int KeyPairs => NopePairs + RopePairs;

    private int NopePairs => (_shape.NopeDimension + 1) / 2;

    private int RopePairs => (_shape.RopeDimension + 1) / 2;

    /// <summary>Values from one row of latents and rotated keys to the next.</summary>
    private int CachedStride => (_shape.LatentRank + _shape.RopeDimension + Panel - 1) / Panel * Panel;

    /// <summary>Pairs of the cached values of 32 keys: latents, then rotated keys.</summary>
    private int ColumnPairs => _weights.LatentPairs + RopePairs;

    private int MemberValues => Math.Max(_shape.NopeDimension, TaskKeys) * Panel;

    /// <summary>Makes room for tiles of a layer of a sequence.</summary>
    /// <param name="shape">Dimensions, those of the weights.</param>
    /// <param name="kv">Pool.</param>
    /// <param name="layer">Layer.</param>
    /// <param name="table">The sequence's blocks; must stay where they are.</param>
    /// <param name="keysMax">Keys of a tile, a multiple of 128.</param>
    internal void Begin(AttentionShape shape, PagedKvMemory kv, int layer, int* table, int keysMax)
    {
        (_shape, _kv, _layer, _keysMax) = (shape, kv, layer, keysMax);
        _table = table;
        var heads = (long)shape.HeadCount;
        _latents = (ushort*)_latentScratch.Take((long)keysMax * CachedStride / 2);
        _columns = (uint*)_columnScratch.Take((long)keysMax * ColumnPairs);
        _keys = (uint*)_keyScratch.Take(heads * keysMax * KeyPairs);
        _values = (uint*)_valueScratch.Take(heads * _weights.ValuePanels * keysMax / 2 * Panel);
        _members = _memberScratch.Take((long)_team.MemberCount * MemberValues);
    }

    /// <summary>Makes the tile of some positions.</summary>
    internal void Make(int start, int count)
    {
        (_start, _count) = (start, count);
        var panels = (count + Panel - 1) / Panel;
        _team.Run(_load, panels, (long)count * CachedStride * Panel);
        var tasks = (panels + PanelsPerTask - 1) / PanelsPerTask * _shape.HeadCount;
        _team.Run(
            _expand, tasks,
            (long)count * _shape.HeadCount * _shape.LatentRank * (_shape.NopeDimension + _shape.ValueDimension));
    }

    /// <summary>Keys of a head as columns, <c>[pair][32][2]</c>.</summary>
    internal uint* Keys(int head, int panel) =>
        _keys + ((((long)head * _keysMax) + (panel * Panel)) * KeyPairs);

    /// <summary>32 values of a head for all keys, <c>[pair of keys][32][2]</c>.</summary>
    internal uint* Values(int head, int valuePanel) =>
        _values + ((((long)head * _weights.ValuePanels) + valuePanel) * _keysMax / 2 * Panel);

    public void Dispose()
    {
        _latentScratch.Dispose();
        _columnScratch.Dispose();
        _keyScratch.Dispose();
        _valueScratch.Dispose();
        _memberScratch.Dispose();
    }

    private ushort* Latents(int key) => _latents + ((long)key * CachedStride);

    private uint* Columns(int panel) => _columns + ((long)panel * Panel * ColumnPairs);

    /// <summary>The cached values of 32 keys as rows and as columns.</summary>
    private void Load(int panel, int member)
    {
        var first = panel * Panel;
        var count = Math.Min(Panel, _count - first);
        for (var key = first; key < first + count; key++)
        {
            var (block, token) = Math.DivRem(_start + key, _kv.Layout.BlockTokens);
            KvRows.ToBf16(_kv.Layout, _kv.RowPointer(_table[block], _layer, token), Latents(key));
        }

        var rows = Latents(first);
        var latent = _shape.LatentRank;
        Bf16Panels.FromRows(rows, CachedStride, count, latent, 0, Columns(panel));
        Bf16Panels.FromRows(
            rows + latent, CachedStride, count, _shape.RopeDimension, 0,
            Columns(panel) + (_weights.LatentPairs * Panel));
    }

    /// <summary>Keys and values of 128 positions of one head.</summary>
    private void Expand(int task, int member)
    {
        var (group, head) = Math.DivRem(task, _shape.HeadCount);
        var scratch = _members + ((long)member * MemberValues);
        var first = group * PanelsPerTask;
        var end = Math.Min(first + PanelsPerTask, (_count + Panel - 1) / Panel);
        for (var panel = first; panel < end; panel++)
        {
            ExpandKeys(panel, head, scratch);
        }

        for (var valuePanel = 0; valuePanel < _weights.ValuePanels; valuePanel++)
        {
            ExpandValues(first * Panel, end * Panel, head, valuePanel, scratch);
        }
    }

    private void ExpandKeys(int panel, int head, float* products)
    {
        var columns = Columns(panel);
        var keys = Keys(head, panel);
        _kernels.Multiply(
            _weights.KeyRows(head), _weights.LatentStride, _shape.NopeDimension, columns, _weights.LatentPairs,
            products, Panel, accumulate: false);
        for (var pair = 0; pair < NopePairs; pair++)
        {
            var even = products + (2 * pair * Panel);
            var odd = (2 * pair) + 1 < _shape.NopeDimension ? even + Panel : null;
            Bf16Panels.FromPair(even, odd, Panel, keys + (pair * Panel));
        }

        var rotated = RopePairs * Panel;
        new ReadOnlySpan<uint>(columns + (_weights.LatentPairs * Panel), rotated)
            .CopyTo(new Span<uint>(keys + (NopePairs * Panel), rotated));
    }

    private void ExpandValues(int first, int end, int head, int valuePanel, float* products)
    {
        var count = Math.Min(end, _count) - first;
        _kernels.Multiply(
            Latents(first), CachedStride, count, _weights.ValuePanel(head, valuePanel), _weights.LatentPairs,
            products, Panel, accumulate: false);
        new Span<float>(products + (count * Panel), (end - first - count) * Panel).Clear();
        var values = Values(head, valuePanel) + (first / 2 * Panel);
        for (var pair = 0; pair < (end - first) / 2; pair++)
        {
            var even = products + (2 * pair * Panel);
            Bf16Panels.FromPair(even, even + Panel, Panel, values + (pair * Panel));
        }
    }
}
