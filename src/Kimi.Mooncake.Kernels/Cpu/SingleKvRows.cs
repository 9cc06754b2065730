using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The cached rows of a tile of one sequence's positions in single precision: in place where the pool holds such, else
/// decoded. Memory grows to the largest tile and is kept.
/// </summary>
internal sealed unsafe class SingleKvRows : IDisposable
{
    private readonly Scratch _scratch = new();
    private PagedKvMemory _kv = null!;
    private int* _table;
    private int _layer;
    private int _tileStart;
    private float* _decoded;

    private bool IsInPlace => _kv.Layout.ElementType == KvElementType.F32;

    /// <summary>Chooses a layer of a sequence.</summary>
    /// <param name="kv">Pool.</param>
    /// <param name="layer">Layer.</param>
    /// <param name="table">The sequence's blocks; must stay where they are.</param>
    /// <param name="tileKeys">Most positions of a tile.</param>
    internal void Begin(PagedKvMemory kv, int layer, int* table, int tileKeys)
    {
        (_kv, _layer) = (kv, layer);
        _table = table;
        _decoded = IsInPlace ? null : _scratch.Take((long)tileKeys * kv.Layout.ValuesPerTokenAndLayer);
    }

    /// <summary>From now on positions are those of the tile that begins here.</summary>
    internal void BeginTile(int start) => _tileStart = start;

    /// <summary>Makes written positions of the tile ready; different ones may be made at once.</summary>
    internal void Decode(int start, int count)
    {
        for (var position = start; position < start + count && !IsInPlace; position++)
        {
            KvRows.ToSingle(_kv.Layout, Stored(position), At(position));
        }
    }

    /// <summary>A row, behind which lie those of the following positions to the end of its block at least.</summary>
    internal float* At(int position) => IsInPlace
        ? (float*)Stored(position)
        : _decoded + ((long)(position - _tileStart) * _kv.Layout.ValuesPerTokenAndLayer);

    public void Dispose() => _scratch.Dispose();

    private byte* Stored(int position)
    {
        var (block, token) = Math.DivRem(position, _kv.Layout.BlockTokens);
        return _kv.RowPointer(_table[block], _layer, token);
    }
}
