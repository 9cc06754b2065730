using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>A store of few blocks, and what is known of each of them.</summary>
internal sealed class StoreModel : IAsyncDisposable, IStoreListener
{
    public const int Numbers = 80;

    private const string Tenant = "limited";
    private const long QuotaBytes = 12_000;

    private readonly string _folder;
    private readonly TestClock _clock = new();
    private readonly Dictionary<BlockKey, Known> _blocks = [];
    private readonly Queue<BlockKey> _resurrected = [];
    private readonly HashSet<BlockKey> _found = [];
    private long _now = 1;
    private BlockKey _removing;
    private KvBlockStore _store;

    public StoreModel(string folder)
    {
        _folder = folder;
        _store = Open();
    }

    /// <summary>What was promised of a block.</summary>
    private sealed class Known(int number, BlockKey parent)
    {
        public int Number { get; } = number;

        public BlockKey Parent { get; } = parent;

        public long HardUntil { get; set; }

        public long LeasedUntil { get; set; }

        public long ExpiresAt { get; set; }
    }

    /// <summary>Evictions for room, for quotas, refusals, and blocks moved so far.</summary>
    public (long Room, long Quota, long Refused, long Moved) Totals { get; private set; }

    public void Put(int number, int amount)
    {
        var key = TestBlocks.Key(number);
        var retention = amount switch
        {
            0 => new BlockRetention(PinKind.Hard, PinSeconds: 3),
            1 => new BlockRetention(LifetimeSeconds: IsAlone(number) ? 5 : 0),
            2 => new BlockRetention(PinKind.Soft, PinSeconds: 4, Priority: 2),
            _ => default,
        };
        var was = IsThere(number);
        var limited = number % 4 == 3;
        var attributes = new BlockAttributes(limited ? Tenant : "", retention, BlockClass.Prompt);
        var parent = ParentOf(number);

        var result = _store.Put(key, parent, TestBlocks.Bytes(number, _store.BlockBytes), attributes);

        Assert.That(result == PutResult.Duplicate, Is.EqualTo(was), $"block {number}: {result}");
        if (result == PutResult.Stored)
        {
            _blocks[key] = new Known(number, parent);
            var bytes = _store.Tenants().Single(static tenant => tenant.Name == Tenant).Bytes;
            Assert.That(limited ? bytes : 0, Is.LessThanOrEqualTo(QuotaBytes));
        }

        if (result != PutResult.Refused)
        {
            Keep(number, retention);
        }
    }

    public void Get(int number) =>
        Assert.That(TestBlocks.Has(_store, number), Is.EqualTo(IsThere(number)), $"block {number}");

    public void GetLayers(int number)
    {
        var layer = new byte[_store.BlockBytes / TestBlocks.SmallLayout.LayerCount];
        var found = _store.TryGetLayers(TestBlocks.Key(number), 1, 1, layer);
        Assert.That(found, Is.EqualTo(IsThere(number)), $"block {number}");
        if (found)
        {
            Assert.That(layer, Is.EqualTo(TestBlocks.Bytes(number, _store.BlockBytes)[layer.Length..]));
        }
    }

    public void Retain(int number, int amount)
    {
        var lifetime = IsAlone(number) ? 8 : 0;
        var retention = amount == 0
            ? new BlockRetention(PinKind.Hard, PinSeconds: 6, LifetimeSeconds: lifetime)
            : new BlockRetention(PinKind.Soft, PinSeconds: 6, LifetimeSeconds: lifetime / 4);
        Assert.That(_store.Retain([TestBlocks.Key(number)], retention), Is.EqualTo(IsThere(number) ? 1 : 0));
        Keep(number, retention);
    }

    public void Unpin(int number)
    {
        Assert.That(_store.Unpin([TestBlocks.Key(number)]), Is.EqualTo(IsThere(number) ? 1 : 0));
        if (_blocks.TryGetValue(TestBlocks.Key(number), out var known))
        {
            known.HardUntil = 0;
        }
    }

    public void Lease(int number, int seconds)
    {
        using var lease = _store.Lease([TestBlocks.Key(number)], TimeSpan.FromSeconds(seconds));
        Assert.That(lease.Blocks, Is.EqualTo(IsThere(number) ? 1 : 0));
        if (lease.Blocks > 0)
        {
            var known = _blocks[TestBlocks.Key(number)];
            known.LeasedUntil = Math.Max(known.LeasedUntil, _now + seconds);
        }
    }

    public void Remove(int number)
    {
        var was = IsThere(number);
        _removing = TestBlocks.Key(number);
        Assert.That(_store.Remove(_removing), Is.EqualTo(was));
        _removing = default;
    }

    public async Task AdvanceAsync(int seconds)
    {
        _clock.Advance(TimeSpan.FromSeconds(seconds));
        _now += seconds;
        await _store.FlushAsync();
        _store.Check();
    }

    public async Task CompactAsync()
    {
        await _store.CompactAsync();
        _store.Check();
    }

    public async Task ReopenAsync()
    {
        AddTotals();
        await _store.DisposeAsync();
        int[] before = [.. _blocks.Values.Select(static known => known.Number).Where(IsThere)];
        _found.Clear();
        _store = Open();
        foreach (var number in before)
        {
            Assert.That(_store.Contains(TestBlocks.Key(number)), $"block {number} after a restart");
            // A lease does not outlive the process.
            _blocks[TestBlocks.Key(number)].LeasedUntil = 0;
        }

        // What was evicted may be there again, and nobody knows for how long.
        foreach (var key in _found.Where(key => !_blocks.TryGetValue(key, out var known) || !IsThere(known.Number)))
        {
            _blocks.Remove(key);
            _resurrected.Enqueue(key);
        }

        while (_resurrected.TryDequeue(out _removing))
        {
            _store.Remove(_removing);
        }

        _removing = default;
        _store.Check();
    }

    public void CheckAll()
    {
        AddTotals();
        for (var number = 0; number < Numbers; number++)
        {
            Get(number);
        }

        _store.Check();
    }

    public void Stored(BlockKey key, BlockKey parent) => _found.Add(key);

    public void Removed(BlockKey key)
    {
        Assert.That(_found.Remove(key), "a block that is not known was removed");
        if (_blocks.Remove(key, out var known) && key != _removing && _now < known.ExpiresAt)
        {
            Assert.That(known.HardUntil, Is.LessThanOrEqualTo(_now), $"hard-pinned block {known.Number} was evicted");
            Assert.That(known.LeasedUntil, Is.LessThanOrEqualTo(_now), $"leased block {known.Number} was evicted");
            Assert.That(
                _blocks.Values.Any(block => block.Parent == key), Is.False,
                $"block {known.Number} was evicted before its child");
        }
    }

    public ValueTask DisposeAsync() => _store.DisposeAsync();

    private KvBlockStore Open()
    {
        var options = TestBlocks.SmallOptions(_folder) with
        {
            MemoryBytes = 128 * 1024,
            DiskBytes = 288 * 1024,
            PutWaitMsMax = 10_000,
        };
        var store = TestBlocks.Open(options, time: _clock);
        store.SetQuota(Tenant, QuotaBytes);
        store.Subscribe(this);
        return store;
    }

    private void AddTotals()
    {
        var now = _store.Statistics();
        Totals = (
            Totals.Room + now.EvictedForRoom, Totals.Quota + now.EvictedForQuota, Totals.Refused + now.Refused,
            Totals.Moved + now.Moved);
    }

    // Blocks form chains of eight; the last two chains are loose blocks, which alone may expire.
    private static bool IsAlone(int number) => number >= Numbers - 16;

    private static BlockKey ParentOf(int number) =>
        number % 8 == 0 || IsAlone(number) ? default : TestBlocks.Key(number - 1);

    private bool IsThere(int number) =>
        _blocks.TryGetValue(TestBlocks.Key(number), out var known) && _now < known.ExpiresAt;

    private void Keep(int number, in BlockRetention retention)
    {
        if (!IsThere(number) && !_blocks.ContainsKey(TestBlocks.Key(number)))
        {
            return;
        }

        var known = _blocks[TestBlocks.Key(number)];
        var ends = retention.LifetimeSeconds == 0 ? long.MaxValue : _now + retention.LifetimeSeconds;
        if (_now < known.ExpiresAt || known.ExpiresAt == 0)
        {
            known.ExpiresAt = Math.Max(known.ExpiresAt, ends);
            known.HardUntil = retention.Pin == PinKind.Hard
                ? Math.Max(known.HardUntil, _now + retention.PinSeconds)
                : known.HardUntil;
        }
    }
}
