using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Which blocks a store has, by key, and which of them goes next when room is needed. Accounting only; what the owner
/// keeps per block is <typeparamref name="TData"/>. Not safe for concurrent use; the time comes in with each call.
/// </summary>
/// <remarks>
/// A block may go only when it has no descendants, so what is found under a prefix can always be reached. A block whose
/// parent is not there gets a ghost for it, a key without data, which is filled when the parent comes and leaves
/// with its last child. Leased and hard-pinned blocks never go, and with them nothing of their prefix; of the others
/// first the expired ones, then those of the tenant that <see cref="TenantShares"/> names: first without a pin, then
/// soft pins, by priority and then by the policy's score.
/// Every operation takes time logarithmic in the number of blocks and allocates nothing but room for growth, in
/// pieces: no call copies or rehashes everything. Ids are used again after a block has left.
/// </remarks>
/// <typeparam name="TData">The owner's part of a block's entry: addresses, lengths, flags, links.</typeparam>
public sealed partial class RetentionIndex<TData>
    where TData : unmanaged
{
    /// <summary>The id that stands for no block.</summary>
    public const int None = -1;

    private const long Never = long.MaxValue;
    private const long RaisedStepMs = 1_000;

    private readonly ChunkedArray<RetentionEntry<TData>> _entries = new();
    private readonly IEvictionPolicy _policy;
    private int _end;
    private int _free = None;
    private long _sequence;
    private long _nowMs = long.MinValue;

    /// <summary>Makes an empty index with one of the built-in policies.</summary>
    public RetentionIndex(RetentionOptions options)
        : this(options, PolicyOf(options))
    {
    }

    /// <summary>Makes an empty index with a policy of the caller's.</summary>
    public RetentionIndex(RetentionOptions options, IEvictionPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(policy);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.CapacityBytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.TenantIdleMs, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BlockTokens, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.TenantQuotaBytes);
        _tenantQuotaBytes = options.TenantQuotaBytes;
        _policy = policy;
        _tenants = new TenantShares(options);
        _timers = new RankHeap(_timerPositions);
    }

    /// <summary>
    /// Is told the id of each block that will live longer, by a second or so, because one that follows on it does.
    /// </summary>
    public Action<int>? Raised { get; set; }

    /// <summary>Blocks, without ghosts.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes of the blocks.</summary>
    public long Bytes { get; private set; }

    /// <summary>Keys without data that stand before blocks.</summary>
    public int GhostCount { get; private set; }

    /// <summary>Bytes of managed memory that the index takes.</summary>
    public long MetadataBytes =>
        _entries.MemoryBytes + _buckets.MemoryBytes + _orderPositions.MemoryBytes + _timerPositions.MemoryBytes +
        _timers.MemoryBytes + _tenants.MemoryBytes + _policy.MemoryBytes;

    /// <summary>
    /// Adds a block. Where the key is known as a ghost, the ghost becomes the block. Its prefix will not expire before
    /// it.
    /// </summary>
    /// <param name="key">Its key; no block, expired or not, may have it: see <see cref="FindAny"/>.</param>
    /// <param name="parent">Key of the block before; <c>default</c> or the key itself when there is none.</param>
    /// <param name="bytes">Bytes that it counts for, at least 0.</param>
    /// <param name="tenant">Who pays for them: what <see cref="Tenant"/> gave.</param>
    /// <param name="retention">How long it is kept.</param>
    /// <param name="nowMs">The time.</param>
    /// <returns>Its id, for as long as it is in the index.</returns>
    /// <exception cref="InvalidOperationException">A block has the key.</exception>
    public int Add(
        in BlockKey key, in BlockKey parent, int bytes, int tenant, in BlockRetention retention, long nowMs)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Require(retention);
        var account = _tenants[tenant];
        Advance(nowMs);
        var id = FindEntry(key);
        if (id != None && _entries[id].IsBlock)
        {
            throw new InvalidOperationException($"block {key} is in the index already");
        }

        if (id == None)
        {
            id = NewEntry(key);
        }
        else
        {
            GhostCount--;
        }

        SetParent(id, key, parent);
        ref var entry = ref _entries[id];
        entry.State = EntryState.Block;
        entry.Bytes = bytes;
        entry.Tenant = (ushort)tenant;
        entry.Uses = 0;
        entry.Score = 0;
        entry.Score = _policy.Score(UseOf(ref entry));
        account.Count++;
        account.Bytes += bytes;
        account.PinnedBytes(PinKind.None) += bytes;
        _pinnedCount[(int)PinKind.None]++;
        Count++;
        Bytes += bytes;
        Strengthen(ref entry, retention, entry.ExpiresMs);
        RaiseExpiry(id);
        _tenants.Use(account, _nowMs);
        Place(id);
        return id;
    }

    /// <summary>
    /// Keeps a block longer or more strongly; what it was promised before stays. Its prefix will not expire before it.
    /// </summary>
    public void Retain(int id, in BlockRetention retention, long nowMs)
    {
        Require(retention);
        ref var entry = ref Block(id);
        Advance(nowMs);
        Strengthen(ref entry, retention, entry.ExpiresMs);
        RaiseExpiry(id);
        Place(id);
    }

    /// <summary>Ends a block's pins.</summary>
    public void Unpin(int id)
    {
        ref var entry = ref Block(id);
        entry.SoftUntilMs = 0;
        entry.HardUntilMs = 0;
        Place(id);
    }

    /// <summary>Counts a read of a block: it is recent, and used once more.</summary>
    public void Use(int id, long nowMs)
    {
        ref var entry = ref Block(id);
        Advance(nowMs);
        entry.Uses = (ushort)Math.Min(entry.Uses + 1, ushort.MaxValue);
        RefreshDepth(ref entry);
        entry.Score = _policy.Score(UseOf(ref entry));
        _tenants.Use(_tenants[entry.Tenant], _nowMs);
        Place(id);
    }

    /// <summary>Protects a block, and through it its prefix, from eviction. A lease is only ever extended.</summary>
    /// <param name="id">The block.</param>
    /// <param name="untilMs">The time from which it may go again.</param>
    public void Lease(int id, long untilMs)
    {
        ref var entry = ref Block(id);
        if (untilMs > entry.LeaseUntilMs)
        {
            entry.LeaseUntilMs = untilMs;
            Place(id);
        }
    }

    /// <summary>Takes out a block that was picked for room, so that the policy knows what that costs.</summary>
    public void Evict(int id)
    {
        ref var entry = ref Block(id);
        _policy.Evicted(new(_sequence, entry.Uses, entry.Depth, HashOf(entry.Key), entry.Score), Count);
        Remove(id);
    }

    /// <summary>
    /// Takes out a block whose data are gone. With descendants it stays as a ghost; without, it leaves together with
    /// the ghosts before it that nothing else needs.
    /// </summary>
    public void Remove(int id)
    {
        ref var entry = ref Block(id);
        var account = _tenants[entry.Tenant];
        account.PinnedBytes(entry.CountedPin) -= entry.Bytes;
        _pinnedCount[(int)entry.CountedPin]--;
        account.Count--;
        account.Bytes -= entry.Bytes;
        Count--;
        Bytes -= entry.Bytes;
        account.Order.Remove(id);
        _timers.Remove(id);
        _tenants.Update(account);
        GhostCount++;
        entry = new RetentionEntry<TData>
        {
            Key = entry.Key,
            ExpiresMs = entry.ExpiresMs,
            NextInBucket = entry.NextInBucket,
            Parent = entry.Parent,
            Children = entry.Children,
            Depth = entry.Depth,
            State = EntryState.Ghost,
        };
        DropGhosts(id);
    }

    private static IEvictionPolicy PolicyOf(RetentionOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return EvictionPolicy.Make(options.Policy, options.BlockTokens);
    }

    private static void Require(in BlockRetention retention)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(retention.PinSeconds, nameof(retention));
        ArgumentOutOfRangeException.ThrowIfNegative(retention.LifetimeSeconds, nameof(retention));
        ArgumentOutOfRangeException.ThrowIfNegative(retention.Priority, nameof(retention));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            retention.Priority, BlockRetention.PriorityMax, nameof(retention));
    }

    private ref RetentionEntry<TData> Block(int id)
    {
        if ((uint)id >= (uint)_end || !_entries[id].IsBlock)
        {
            throw new InvalidOperationException($"there is no block {id} in the index");
        }

        return ref _entries[id];
    }

    private BlockUse UseOf(ref RetentionEntry<TData> entry) =>
        new(++_sequence, entry.Uses, entry.Depth, HashOf(entry.Key), entry.Score);

    private void Strengthen(ref RetentionEntry<TData> entry, in BlockRetention retention, long expiresMs)
    {
        var until = End(retention.PinSeconds);
        if (retention.Pin == PinKind.Hard)
        {
            entry.HardUntilMs = Math.Max(entry.HardUntilMs, until);
        }
        else if (retention.Pin == PinKind.Soft)
        {
            entry.SoftUntilMs = Math.Max(entry.SoftUntilMs, until);
        }

        entry.Priority = Math.Max(entry.Priority, retention.Priority);
        entry.ExpiresMs = Math.Max(expiresMs, End(retention.LifetimeSeconds));
    }

    private long End(int seconds) => seconds == 0 ? Never : _nowMs + (seconds * 1000L);
}
