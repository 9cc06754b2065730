using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.KvCache.Tests.Retention;

/// <summary>
/// What a <see cref="RetentionIndex{TData}"/> promises, by searches over a dictionary: blocks are named by their
/// path, whose prefixes are their ancestors.
/// </summary>
internal sealed class RetentionModel(RetentionOptions options)
{
    public const long Never = long.MaxValue;

    private readonly IEvictionPolicy _policy = EvictionPolicy.Make(options.Policy, options.BlockTokens);
    private long _sequence;

    public SortedDictionary<string, Node> Nodes { get; } = new(StringComparer.Ordinal);

    public Dictionary<int, long> Quotas { get; } = [];

    public Dictionary<int, long> UsedMs { get; } = [];

    public long NowMs { get; set; }

    public IEnumerable<KeyValuePair<string, Node>> Blocks => Nodes.Where(static node => node.Value.IsBlock);

    public bool IsFound(string path) => Nodes.GetValueOrDefault(path) is { IsBlock: true } node && node.Expires > NowMs;

    public void Add(string path, ulong keyHash, int bytes, int tenant, in BlockRetention retention)
    {
        var node = NodeAt(path);
        if (path.Length > 1 && !node.Linked)
        {
            NodeAt(path[..^1]);
            node.Linked = true;
            node.Depth = Nodes[path[..^1]].Depth + 1;
        }

        node.IsBlock = true;
        node.Bytes = bytes;
        node.Tenant = tenant;
        node.KeyHash = keyHash;
        node.Score = _policy.Score(new BlockUse(++_sequence, 0, node.Depth, keyHash, 0));
        UsedMs[tenant] = NowMs;
        Keep(path, retention);
    }

    public void Keep(string path, in BlockRetention retention)
    {
        var node = Nodes[path];
        var pinEnd = End(retention.PinSeconds);
        node.Soft = retention.Pin == PinKind.Soft ? Math.Max(node.Soft, pinEnd) : node.Soft;
        node.Hard = retention.Pin == PinKind.Hard ? Math.Max(node.Hard, pinEnd) : node.Hard;
        node.Priority = Math.Max(node.Priority, retention.Priority);
        node.Expires = Math.Max(node.Expires, End(retention.LifetimeSeconds));
        var expires = node.Expires;
        for (; node.Linked; node = Nodes[path])
        {
            path = path[..^1];
            Nodes[path].Expires = Math.Max(Nodes[path].Expires, expires);
        }
    }

    public void Use(string path)
    {
        var node = Nodes[path];
        node.Uses++;
        node.Depth = node.Linked ? Nodes[path[..^1]].Depth + 1 : node.Depth;
        node.Score = _policy.Score(new BlockUse(++_sequence, node.Uses, node.Depth, node.KeyHash, node.Score));
        UsedMs[node.Tenant] = NowMs;
    }

    public void Remove(string path, bool evicted)
    {
        if (evicted)
        {
            var node = Nodes[path];
            _policy.Evicted(
                new BlockUse(_sequence, node.Uses, node.Depth, node.KeyHash, node.Score), Blocks.Count());
        }

        var old = Nodes[path];
        Nodes[path] = new Node { Linked = old.Linked, Depth = old.Depth, Expires = old.Expires };
        while (Nodes.GetValueOrDefault(path) is { IsBlock: false } ghost && !HasChildren(path))
        {
            Nodes.Remove(path);
            path = ghost.Linked ? path[..^1] : "";
        }
    }

    public bool MayGo(string path)
    {
        var node = Nodes[path];
        var isFree = node.Lease <= NowMs && (node.Expires <= NowMs || node.Hard <= NowMs);
        return node.IsBlock && isFree && !HasChildren(path);
    }

    /// <summary>The blocks that may be named as the next to go; none when no block may go.</summary>
    public List<string> Victims()
    {
        var candidates = Nodes.Keys.Where(MayGo).ToList();
        var expired = candidates.Where(path => Nodes[path].Expires <= NowMs).ToList();
        if (expired.Count > 0)
        {
            return [.. expired.GroupBy(TenantOf).SelectMany(EarliestToExpire)];
        }

        var idle = candidates.Where(path => IsIdle(TenantOf(path)) && !IsPinned(path)).ToList();
        if (idle.Count > 0)
        {
            var oldest = idle.Min(path => UsedMs[TenantOf(path)]);
            return [.. FirstOfEach(idle.Where(path => UsedMs[TenantOf(path)] == oldest))];
        }

        // A tenant stands with the blocks that it would lose first.
        var next = FirstOfEach(candidates).ToList();
        var free = MostUsed(next.Where(path => !IsPinned(path)));
        var pinned = MostUsed(next.Where(IsPinned));
        return free.Count > 0 && (UseOf(free) > 1 || pinned.Count == 0 || UseOf(pinned) <= 1) ? free : pinned;
    }

    public List<string> Victims(int tenant)
    {
        var candidates = Nodes.Keys.Where(path => MayGo(path) && TenantOf(path) == tenant).ToList();
        var expired = candidates.Where(path => Nodes[path].Expires <= NowMs).ToList();
        return expired.Count > 0 ? [.. EarliestToExpire(expired)] : [.. FirstOfEach(candidates)];
    }

    public long BytesOf(int tenant) =>
        Blocks.Where(node => node.Value.Tenant == tenant).Sum(static node => (long)node.Value.Bytes);

    public bool HasChildren(string path) =>
        Nodes.Any(node => node.Value.Linked && node.Key.Length == path.Length + 1 && node.Key[..^1] == path);

    private static int PinClass(Node node, long nowMs) => node.Soft > nowMs ? 1 : 0;

    private int TenantOf(string path) => Nodes[path].Tenant;

    private bool IsPinned(string path) => PinClass(Nodes[path], NowMs) > 0;

    private bool IsIdle(int tenant) => UsedMs[tenant] + options.TenantIdleMs <= NowMs;

    private IEnumerable<string> EarliestToExpire(IEnumerable<string> paths)
    {
        var earliest = paths.Min(path => Nodes[path].Expires);
        return paths.Where(path => Nodes[path].Expires == earliest);
    }

    // Blocks of equal rank may go in any order.
    private IEnumerable<string> FirstOfEach(IEnumerable<string> paths) =>
        paths.GroupBy(TenantOf).SelectMany(group => group.GroupBy(RankOf).MinBy(static equal => equal.Key)!);

    private (int Pin, int Priority, long Score) RankOf(string path) =>
        (PinClass(Nodes[path], NowMs), Nodes[path].Priority, Nodes[path].Score);

    private List<string> MostUsed(IEnumerable<string> paths)
    {
        var all = paths.ToList();
        var most = all.Count == 0 ? 0 : all.Max(path => ShareUsed(TenantOf(path)));
        return [.. all.Where(path => ShareUsed(TenantOf(path)) > most - 1e-9)];
    }

    private double UseOf(List<string> paths) => paths.Count == 0 ? -1 : ShareUsed(TenantOf(paths[0]));

    private double ShareUsed(int tenant)
    {
        var claiming = Blocks.Select(node => node.Value.Tenant).Distinct().Where(id => !IsIdle(id)).ToList();
        var quotas = claiming.Sum(id => Quotas.GetValueOrDefault(id));
        var without = claiming.Count(id => Quotas.GetValueOrDefault(id) == 0);
        var with = claiming.Count - without;
        var capacity = (double)options.CapacityBytes;
        var fair = Math.Max((capacity - quotas) / Math.Max(without, 1), capacity / (Math.Max(without, 1) + with));
        var scale = Math.Min(1, capacity / Math.Max(quotas + (without * fair), 1e-9));
        var quota = Quotas.GetValueOrDefault(tenant);
        return BytesOf(tenant) / ((quota == 0 ? fair : quota) * scale);
    }

    private long End(int seconds) => seconds == 0 ? Never : NowMs + (seconds * 1000L);

    private Node NodeAt(string path)
    {
        if (!Nodes.TryGetValue(path, out var node))
        {
            Nodes[path] = node = new Node();
        }

        return node;
    }

    internal sealed class Node
    {
        public bool IsBlock { get; set; }

        /// <summary>Whether its parent is known.</summary>
        public bool Linked { get; set; }

        public int Bytes { get; set; }

        public int Tenant { get; set; }

        public int Uses { get; set; }

        public int Depth { get; set; }

        public ulong KeyHash { get; set; }

        public int Priority { get; set; }

        public long Score { get; set; }

        public long Soft { get; set; }

        public long Hard { get; set; }

        public long Expires { get; set; }

        public long Lease { get; set; }
    }
}
