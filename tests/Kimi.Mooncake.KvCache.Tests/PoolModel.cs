namespace Kimi.Mooncake.KvCache.Tests;

/// <summary>A pool as a list of blocks whose published ones are named by their path from the root.</summary>
internal sealed class PoolModel(int blocks)
{
    private readonly Block[] _blocks = Enumerable.Range(0, blocks).Select(_ => new Block()).ToArray();
    private long _clock;

    public int Free => _blocks.Count(b => b is { Path: null, Holds: 0 });

    public int Cached => _blocks.Count(IsCached);

    public int Held => blocks - Free - Cached;

    public int Evicted { get; private set; }

    public int[] HoldPrefix(string path)
    {
        var ids = new List<int>();
        for (var length = 1; length <= path.Length && Find(path[..length]) is var id and >= 0; length++)
        {
            ids.Add(id);
        }

        ids.ForEach(Hold);
        return [.. ids];
    }

    public void Hold(int id) => _blocks[id].Holds++;

    public void Allocate(int id, string what)
    {
        if (Free == 0)
        {
            // The least recently used of the cached blocks that have no block under them.
            var leaves = _blocks.Where(b => IsCached(b) && !_blocks.Any(c => IsUnder(c, b)));
            Assert.That(_blocks[id], Is.SameAs(leaves.MinBy(b => b.IdleSince)), what);
            _blocks[id].Path = null;
            Evicted++;
        }

        Assert.That(_blocks[id] is { Path: null, Holds: 0 }, Is.True, what);
        _blocks[id].Holds = 1;
    }

    public int Publish(int id, string path)
    {
        var existing = Find(path);
        if (existing >= 0)
        {
            Hold(existing);
            return existing;
        }

        _blocks[id].Path = path;
        return id;
    }

    public void Release(int id)
    {
        var before = _blocks.Where(IsCached).ToHashSet();
        _blocks[id].Holds--;

        // One release can make a whole path idle; its tail first.
        var idle = _blocks.Where(b => IsCached(b) && !before.Contains(b));
        foreach (var block in idle.OrderByDescending(b => b.Path!.Length))
        {
            block.IdleSince = ++_clock;
        }
    }

    private int Find(string path) => Array.FindIndex(_blocks, b => b.Path == path);

    private bool IsCached(Block block) =>
        block.Path != null && block.Holds == 0 && !_blocks.Any(b => b.Holds > 0 && IsUnder(b, block));

    private static bool IsUnder(Block block, Block above) =>
        block.Path?.Length > above.Path!.Length && block.Path.StartsWith(above.Path, StringComparison.Ordinal);

    private sealed class Block
    {
        public string? Path { get; set; }

        public int Holds { get; set; }

        public long IdleSince { get; set; }
    }
}
