using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <content>Which block goes next: tenants, the order within one, and what changes by time alone.</content>
public sealed partial class RetentionIndex<TData>
{
    /// <summary>
    /// Most tenants that are told apart; all later ones count as one more, with the name of the last.
    /// </summary>
    public const int TenantsMax = ushort.MaxValue;

    // Ends of leases, pins and lifetimes that one call looks at. What remains is looked at by the next; until then
    // those blocks are kept a little longer, and no call takes long because thousands end together.
    private const int TimersPerCall = 64;

    private readonly Dictionary<string, int> _tenantIds = [];
    private readonly TenantShares _tenants;
    private readonly long _tenantQuotaBytes;
    private readonly ChunkedArray<int> _orderPositions = new();
    private readonly ChunkedArray<int> _timerPositions = new();
    private readonly RankHeap _timers;
    private readonly int[] _pinnedCount = new int[(int)PinKind.Hard + 1];

    /// <summary>Tenants that were named so far.</summary>
    public int TenantCount => _tenants.Count;

    /// <summary>Id of a tenant, made when it is new; ids are dense from 0 and stay.</summary>
    public int Tenant(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (_tenantIds.TryGetValue(name, out var id))
        {
            return id;
        }

        if (_tenants.Count == TenantsMax)
        {
            return TenantsMax - 1;
        }

        id = _tenants.Count;
        _tenantIds.Add(name, id);
        _tenants.Add(new TenantAccount(name, id, _orderPositions) { QuotaBytes = _tenantQuotaBytes });
        return id;
    }

    /// <summary>Name of a tenant.</summary>
    public string TenantName(int tenant) => _tenants[tenant].Name;

    /// <summary>Bytes of a tenant's blocks.</summary>
    public long BytesOf(int tenant) => _tenants[tenant].Bytes;

    /// <summary>Blocks of a tenant.</summary>
    public int CountOf(int tenant) => _tenants[tenant].Count;

    /// <summary>Bytes that a tenant may have; 0 when it has a fair share.</summary>
    public long QuotaOf(int tenant) => _tenants[tenant].QuotaBytes;

    /// <summary>
    /// Says how many bytes a tenant may have; 0: what the options give to all, a quota or a fair share. The index takes
    /// a quota as the tenant's share when room is needed; the owner keeps to it with
    /// <see cref="TryPickVictim(int, long, out int)"/>.
    /// </summary>
    public void SetQuota(int tenant, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        _tenants[tenant].QuotaBytes = bytes > 0 ? bytes : _tenantQuotaBytes;
        _tenants.Update(_tenants[tenant]);
    }

    /// <summary>
    /// Bytes of a tenant's blocks that have a pin of this kind. A pin that ended just now may still count.
    /// </summary>
    public long PinnedBytesOf(int tenant, PinKind pin) => _tenants[tenant].PinnedBytes(pin);

    /// <summary>Blocks that have a pin of this kind. A pin that ended just now may still count.</summary>
    public int PinnedCount(PinKind pin) => _pinnedCount[(int)pin];

    /// <summary>The block that goes next when room is needed.</summary>
    /// <param name="nowMs">The time.</param>
    /// <param name="id">The block; it stays until <see cref="Evict"/> or <see cref="Remove"/>.</param>
    /// <returns>False when every block is leased, hard-pinned or before one that is.</returns>
    public bool TryPickVictim(long nowMs, out int id)
    {
        Advance(nowMs);
        var tenant = _tenants.Pick();
        while (tenant is null && TimersAreDue())
        {
            Advance(nowMs);
            tenant = _tenants.Pick();
        }

        id = tenant?.Order.Top ?? None;
        return id != None;
    }

    /// <summary>The block of one tenant that goes next.</summary>
    /// <param name="tenant">The tenant.</param>
    /// <param name="nowMs">The time.</param>
    /// <param name="id">The block; it stays until <see cref="Evict"/> or <see cref="Remove"/>.</param>
    /// <returns>False when every block of the tenant is leased, hard-pinned or has descendants.</returns>
    public bool TryPickVictim(int tenant, long nowMs, out int id)
    {
        var order = _tenants[tenant].Order;
        Advance(nowMs);
        while (order.Count == 0 && TimersAreDue())
        {
            Advance(nowMs);
        }

        id = order.Count == 0 ? None : order.Top;
        return id != None;
    }

    /// <summary>
    /// Whether a block may go at this time: without descendants, lease and hard pin, or expired and not leased.
    /// </summary>
    public bool IsEvictable(int id, long nowMs) => RankClass(ref Block(id), nowMs) >= 0;

    /// <summary>Whether a block is a miss by now.</summary>
    public bool IsExpired(int id, long nowMs) => Block(id).ExpiresMs <= nowMs;

    private static int RankClass(ref RetentionEntry<TData> entry, long nowMs)
    {
        if (entry.Children > 0 || entry.LeaseUntilMs > nowMs)
        {
            return None;
        }

        return entry.ExpiresMs <= nowMs ? BlockRank.Expired : entry.PinAt(nowMs) switch
        {
            PinKind.None => BlockRank.Unpinned,
            PinKind.Soft => BlockRank.SoftPinned,
            _ => None,
        };
    }

    private bool TimersAreDue() => _timers.Count > 0 && _timers.TopRank <= (ulong)Math.Max(_nowMs, 0);

    private void Advance(long nowMs)
    {
        _nowMs = Math.Max(_nowMs, nowMs);
        _tenants.Advance(_nowMs);
        for (var i = 0; i < TimersPerCall && TimersAreDue(); i++)
        {
            Place(_timers.Top);
        }
    }

    // Puts a block where it belongs in the order and among the timers, as of the last known time.
    private void Place(int id)
    {
        ref var entry = ref _entries[id];
        if (!entry.IsBlock)
        {
            return;
        }

        var account = _tenants[entry.Tenant];
        var pin = entry.PinAt(_nowMs);
        if (pin != entry.CountedPin)
        {
            account.PinnedBytes(entry.CountedPin) -= entry.Bytes;
            account.PinnedBytes(pin) += entry.Bytes;
            _pinnedCount[(int)entry.CountedPin]--;
            _pinnedCount[(int)pin]++;
            entry.CountedPin = pin;
        }

        var rankClass = RankClass(ref entry, _nowMs);
        if (rankClass >= 0)
        {
            // Of the expired ones, whatever they were, the one that expired first.
            var expired = rankClass == BlockRank.Expired;
            account.Order.Set(id, BlockRank.Make(
                rankClass, expired ? 0 : entry.Priority, expired ? entry.ExpiresMs : entry.Score));
        }
        else
        {
            account.Order.Remove(id);
        }

        var due = NextChange(ref entry, pin);
        if (due < Never)
        {
            _timers.Set(id, (ulong)Math.Max(due, 0));
        }
        else
        {
            _timers.Remove(id);
        }

        _tenants.Update(account);
    }

    private long NextChange(ref RetentionEntry<TData> entry, PinKind pin)
    {
        var due = pin switch
        {
            PinKind.Hard => entry.HardUntilMs,
            PinKind.Soft => entry.SoftUntilMs,
            _ => Never,
        };
        if (entry.Children == 0)
        {
            due = entry.LeaseUntilMs > _nowMs ? Math.Min(due, entry.LeaseUntilMs) : due;
            due = entry.ExpiresMs > _nowMs ? Math.Min(due, entry.ExpiresMs) : due;
        }

        return due;
    }
}
