using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.KvCache.Tests.Retention;

/// <summary>Bytes read as operations, done to an index and to its model, which must agree after each.</summary>
internal sealed class RetentionScript
{
    public const int Operations = 12;

    private const int DepthMax = 5;
    private const int Tenants = 4;
    private const long Capacity = 4_000;
    private const long IdleMs = 60_000;

    // 62 paths over two letters: fewer than the timers that the index looks at per call.
    private static readonly (string Path, BlockKey Key)[] Paths = MakePaths();

    private readonly byte[] _bytes;
    private readonly RetentionIndex<long> _index;
    private readonly RetentionModel _model;
    private int _next;

    public RetentionScript(EvictionPolicyKind policy, byte[] bytes)
    {
        var options = new RetentionOptions { Policy = policy, CapacityBytes = Capacity, TenantIdleMs = IdleMs };
        _bytes = bytes;
        _index = new RetentionIndex<long>(options);
        _model = new RetentionModel(options) { NowMs = 1_000 };
        for (var tenant = 0; tenant < Tenants; tenant++)
        {
            Require(_index.Tenant($"t{tenant}") == tenant, "tenants are numbered from 0");
        }
    }

    public int Steps { get; private set; }

    public void Run(int[] reached)
    {
        while (_next < _bytes.Length)
        {
            var operation = Byte() % Operations;
            reached[operation] += Apply(operation, Paths[Byte() % Paths.Length]) ? 1 : 0;
            _index.Check();
            Compare();
            Steps++;
        }
    }

    private static (string Path, BlockKey Key)[] MakePaths()
    {
        var all = new List<(string Path, BlockKey Key)> { ("", default) };
        for (var i = 0; all[i].Path.Length < DepthMax; i++)
        {
            foreach (var letter in "ab")
            {
                var tokens = new int[16];
                tokens[0] = letter;
                all.Add((all[i].Path + letter, BlockKeyChain.Next(all[i].Key, tokens)));
            }
        }

        return [.. all.Skip(1)];
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new InvalidOperationException(message);
        }
    }

    private static BlockKey KeyOf(string path) => Paths.First(known => known.Path == path).Key;

    private int Byte() => _next < _bytes.Length ? _bytes[_next++] : 0;

    private bool Apply(int operation, (string Path, BlockKey Key) block)
    {
        var id = _index.FindAny(block.Key);
        switch (operation)
        {
            case 0 or 1 or 2:
                return Add(block, id);
            case 3 when id >= 0:
                _index.Use(id, _model.NowMs);
                _model.Use(block.Path);
                return true;
            case 4 when id >= 0:
                var until = _model.NowMs + (Byte() * 20);
                _index.Lease(id, until);
                _model.Nodes[block.Path].Lease = Math.Max(_model.Nodes[block.Path].Lease, until);
                return true;
            case 5 when id >= 0:
                var retention = Retention();
                _index.Retain(id, retention, _model.NowMs);
                _model.Keep(block.Path, retention);
                return true;
            case 6 when id >= 0:
                _index.Unpin(id);
                _model.Nodes[block.Path].Soft = _model.Nodes[block.Path].Hard = 0;
                return true;
            case 7 when id >= 0:
                _index.Remove(id);
                _model.Remove(block.Path, evicted: false);
                return true;
            case 8:
                _model.NowMs += (long)Byte() * Byte();
                return true;
            case 9:
                var quota = Byte() * 16;
                _index.SetQuota(Byte() % Tenants, quota);
                _model.Quotas[_bytes[_next - 1] % Tenants] = quota;
                return true;
            case 10:
                return EvictUntilRoom();
            case 11:
                var tenant = Byte() % Tenants;
                var picked = _index.TryPickVictim(tenant, _model.NowMs, out var victim);
                return Evict(picked, victim, _model.Victims(tenant));
            default:
                return false;
        }
    }

    private bool Add((string Path, BlockKey Key) block, int id)
    {
        if (id >= 0 && _index.IsExpired(id, _model.NowMs))
        {
            _index.Remove(id);
            _model.Remove(block.Path, evicted: false);
        }
        else if (id >= 0)
        {
            return false;
        }

        var bytes = 1 + Byte();
        var tenant = Byte() % Tenants;
        var retention = Retention();
        var parent = block.Path.Length == 1 ? default : KeyOf(block.Path[..^1]);
        id = _index.Add(block.Key, parent, bytes, tenant, retention, _model.NowMs);
        _index.Data(id) = block.Path.Length;
        _model.Add(block.Path, RetentionIndex<long>.HashOf(block.Key), bytes, tenant, retention);
        return true;
    }

    private BlockRetention Retention()
    {
        // Most blocks have no retention of their own, as in life.
        var choice = Byte();
        return choice < 128
            ? default
            : new BlockRetention((PinKind)(choice % 3), choice / 3 % 4 * 7, Byte() % 3 * 11, choice % 4);
    }

    private bool EvictUntilRoom()
    {
        var evicted = false;
        while (_index.Bytes > Capacity / 4)
        {
            if (!Evict(_index.TryPickVictim(_model.NowMs, out var victim), victim, _model.Victims()))
            {
                break;
            }

            evicted = true;
            _index.Check();
        }

        return evicted;
    }

    private bool Evict(bool picked, int victim, List<string> expected)
    {
        Require(picked == expected.Count > 0, $"step {Steps}: picked {picked}; {expected.Count} may go");
        if (!picked)
        {
            return false;
        }

        var path = Paths.First(known => known.Key == _index.KeyOf(victim)).Path;
        Require(expected.Contains(path), $"step {Steps}: picked {path}, not one of {string.Join(' ', expected)}");
        Require(_index.Data(victim) == path.Length, $"step {Steps}: {path} has another block's data");
        _index.Evict(victim);
        _model.Remove(path, evicted: true);
        return true;
    }

    private void Compare()
    {
        var blocks = _model.Blocks.ToList();
        Require(_index.Count == blocks.Count, $"step {Steps}: {_index.Count} blocks, not {blocks.Count}");
        Require(
            _index.GhostCount == _model.Nodes.Count - blocks.Count, $"step {Steps}: {_index.GhostCount} ghosts");
        Require(
            _index.Bytes == blocks.Sum(static block => (long)block.Value.Bytes), $"step {Steps}: {_index.Bytes} bytes");
        foreach (var (path, key) in Paths)
        {
            var id = _index.Find(key, _model.NowMs);
            Require(id >= 0 == _model.IsFound(path), $"step {Steps}: {path} is found: {id >= 0}");
            var any = _index.FindAny(key);
            if (any >= 0)
            {
                CompareBlock(path, any);
            }
        }

        for (var tenant = 0; tenant < Tenants; tenant++)
        {
            Require(_index.BytesOf(tenant) == _model.BytesOf(tenant), $"step {Steps}: bytes of tenant {tenant}");
        }
    }

    private void CompareBlock(string path, int id)
    {
        var node = _model.Nodes[path];
        var now = _model.NowMs;
        var pin = node.Hard > now ? PinKind.Hard : node.Soft > now ? PinKind.Soft : PinKind.None;
        var expected = new RetainedBlock(
            KeyOf(path),
            node.Linked ? KeyOf(path[..^1]) : default,
            node.Bytes,
            node.Tenant,
            pin,
            pin == PinKind.Hard ? node.Hard : pin == PinKind.Soft ? node.Soft : 0,
            node.Expires,
            node.Priority,
            node.Lease,
            node.Uses,
            node.Depth,
            _model.Nodes.Count(child => child.Value.Linked && child.Key[..^1] == path));
        var actual = _index.Describe(id, now);
        Require(actual == expected, $"step {Steps}: {path} is {actual}, not {expected}");
        Require(_index.IsEvictable(id, now) == _model.MayGo(path), $"step {Steps}: {path} may go");
    }
}
