using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <content>Single entries, listing, and the proof that the books add up.</content>
public sealed partial class RetentionIndex<TData>
{
    /// <summary>The owner's part of a block's entry; zero when the block is added. Good until the next add.</summary>
    public ref TData Data(int id) => ref Block(id).Data;

    /// <summary>Key of a block.</summary>
    public BlockKey KeyOf(int id) => Block(id).Key;

    /// <summary>Key of the block before; default when there is none.</summary>
    public BlockKey ParentKeyOf(int id)
    {
        var parent = Block(id).Parent;
        return parent == None ? default : _entries[parent].Key;
    }

    /// <summary>Bytes that a block counts for.</summary>
    public int BytesOfBlock(int id) => Block(id).Bytes;

    /// <summary>Changes the bytes that a block counts for, as when it was compressed.</summary>
    public void SetBytesOfBlock(int id, int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ref var entry = ref Block(id);
        var account = _tenants[entry.Tenant];
        var more = bytes - entry.Bytes;
        entry.Bytes = bytes;
        account.Bytes += more;
        account.PinnedBytes(entry.CountedPin) += more;
        Bytes += more;
        _tenants.Update(account);
    }

    /// <summary>What the index knows about a block.</summary>
    public RetainedBlock Describe(int id, long nowMs)
    {
        ref var entry = ref Block(id);
        var pin = entry.PinAt(nowMs);
        return new RetainedBlock(
            entry.Key,
            ParentKeyOf(id),
            entry.Bytes,
            entry.Tenant,
            pin,
            pin == PinKind.Hard ? entry.HardUntilMs : pin == PinKind.Soft ? entry.SoftUntilMs : 0,
            entry.ExpiresMs,
            entry.Priority,
            entry.LeaseUntilMs,
            entry.Uses,
            entry.Depth,
            entry.Children);
    }

    /// <summary>
    /// The block with the next higher id, or <see cref="None"/> at the end; <see cref="None"/> gives the first.
    /// Blocks may come and go between two calls.
    /// </summary>
    public int NextAfter(int id)
    {
        for (var next = id + 1; next < _end; next++)
        {
            if (_entries[next].IsBlock)
            {
                return next;
            }
        }

        return None;
    }

    /// <summary>Verifies every invariant, in time linear in the number of blocks.</summary>
    /// <exception cref="InvalidOperationException">One does not hold; the message says which.</exception>
    public void Check()
    {
        var children = new int[_end];
        var bytes = new long[_tenants.Count];
        var counts = new int[_tenants.Count];
        var pinned = new long[_tenants.Count, _pinnedCount.Length];
        var blocks = 0;
        var ghosts = 0;
        for (var id = 0; id < _end; id++)
        {
            ref var entry = ref _entries[id];
            if (entry.State == EntryState.Free)
            {
                continue;
            }

            PrefixTree.Require(FindEntry(entry.Key) == id, $"entry {id} is not found under its key");
            CheckParent(id, children);
            if (!entry.IsBlock)
            {
                ghosts++;
                continue;
            }

            blocks++;
            bytes[entry.Tenant] += entry.Bytes;
            counts[entry.Tenant]++;
            pinned[entry.Tenant, (int)entry.CountedPin] += entry.Bytes;
        }

        PrefixTree.Require(blocks == Count, $"{blocks} blocks, {Count} counted");
        PrefixTree.Require(ghosts == GhostCount, $"{ghosts} ghosts, {GhostCount} counted");
        PrefixTree.Require(blocks + ghosts == _linked, $"{_linked} entries in buckets, not {blocks + ghosts}");
        PrefixTree.Require(bytes.Sum() == Bytes, $"{bytes.Sum()} bytes, {Bytes} counted");
        for (var tenant = 0; tenant < _tenants.Count; tenant++)
        {
            var account = _tenants[tenant];
            PrefixTree.Require(account.Bytes == bytes[tenant], $"tenant '{account.Name}' has {bytes[tenant]} bytes");
            PrefixTree.Require(account.Count == counts[tenant], $"tenant '{account.Name}' has {counts[tenant]} blocks");
            for (var pin = PinKind.None; pin <= PinKind.Hard; pin++)
            {
                PrefixTree.Require(
                    account.PinnedBytes(pin) == pinned[tenant, (int)pin],
                    $"tenant '{account.Name}' has {pinned[tenant, (int)pin]} bytes with pin {pin}");
            }
        }

        CheckOrder(children);
        _tenants.Check();
        _timers.Check();
    }

    private void CheckParent(int id, int[] children)
    {
        ref var entry = ref _entries[id];
        if (entry.Parent == None)
        {
            return;
        }

        ref var parent = ref _entries[entry.Parent];
        PrefixTree.Require(parent.State != EntryState.Free, $"entry {id} is an orphan");
        PrefixTree.Require(parent.ExpiresMs >= entry.ExpiresMs, $"entry {id} would outlive its parent");
        children[entry.Parent]++;
    }

    private void CheckOrder(int[] children)
    {
        for (var id = 0; id < _end; id++)
        {
            ref var entry = ref _entries[id];
            var present = entry.State != EntryState.Free;
            PrefixTree.Require(!present || entry.Children == children[id], $"entry {id} miscounts its children");
            PrefixTree.Require(
                entry.State != EntryState.Ghost || entry.Children > 0, $"ghost {id} has no descendants");
            var listed = _orderPositions[id] > 0;
            PrefixTree.Require(entry.IsBlock || !listed, $"entry {id} is no block, but may go");
            if (!entry.IsBlock)
            {
                continue;
            }

            // What ended since the last look may still be kept, if it has a timer that says so.
            var due = _timerPositions[id] > 0 && _timers.RankOf(id) <= (ulong)Math.Max(_nowMs, 0);
            PrefixTree.Require(
                due || listed == RankClass(ref entry, _nowMs) >= 0, $"block {id} is in the order wrongly: {listed}");
            PrefixTree.Require(!listed || entry.Children == 0, $"block {id} would go before its descendants");
        }
    }
}
