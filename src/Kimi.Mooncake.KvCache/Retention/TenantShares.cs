namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Which tenant gives room. In this order: one with expired blocks; one that was idle for long, with blocks that are
/// not pinned; the one that is the most above its share, first with blocks without a pin, then with soft pins; then,
/// when nobody is above his share, the one that is nearest to it, again without a pin first. So a tenant that writes
/// much more than its share pushes out its own blocks, soft pins included, before anything of a tenant within its
/// share.
/// </summary>
/// <remarks>
/// The share of a tenant with a quota is the quota. The others divide evenly what the quotas leave, but each counts
/// for at least an even part of the whole room; where that and the quotas are more than there is, all shrink in
/// proportion. Tenants without blocks and idle tenants claim nothing, so what they leave is the others' to use.
/// </remarks>
internal sealed class TenantShares
{
    private readonly RetentionOptions _options;
    private readonly List<TenantAccount> _tenants = [];
    private readonly ChunkedArray<int> _positions = new();
    private readonly ChunkedArray<int> _idlePositions = new();
    private readonly RankHeap _expired;
    private readonly RankHeap _unused;
    private readonly RankHeap[] _fair;
    private readonly RankHeap[] _quota;
    private readonly RankHeap _idleTimes;
    private long _claimedQuotaBytes;
    private int _claimsWithQuota;
    private int _claimsWithout;

    public TenantShares(RetentionOptions options)
    {
        _options = options;
        _expired = new RankHeap(_positions);
        _unused = new RankHeap(_positions);
        _fair = [new RankHeap(_positions), new RankHeap(_positions)];
        _quota = [new RankHeap(_positions), new RankHeap(_positions)];
        _idleTimes = new RankHeap(_idlePositions);
    }

    public int Count => _tenants.Count;

    public long MemoryBytes
    {
        get
        {
            var sum = _positions.MemoryBytes + _idlePositions.MemoryBytes;
            foreach (var tenant in _tenants)
            {
                sum += tenant.Order.MemoryBytes;
            }

            return sum;
        }
    }

    public TenantAccount this[int tenant] => _tenants[tenant];

    public void Add(TenantAccount tenant)
    {
        _tenants.Add(tenant);
        _positions.Grow(_tenants.Count);
        _idlePositions.Grow(_tenants.Count);
    }

    /// <summary>Notes that a tenant stored or read something.</summary>
    public void Use(TenantAccount tenant, long nowMs)
    {
        tenant.UsedMs = Math.Max(tenant.UsedMs, nowMs);
        if (!_idleTimes.Contains(tenant.Id))
        {
            _idleTimes.Set(tenant.Id, IdleAt(tenant));
            tenant.Idle = false;
            Update(tenant);
        }
    }

    /// <summary>Notes which tenants became idle.</summary>
    public void Advance(long nowMs)
    {
        while (_idleTimes.Count > 0 && _idleTimes.TopRank <= (ulong)Math.Max(nowMs, 0))
        {
            var tenant = _tenants[_idleTimes.Top];
            if (IdleAt(tenant) > (ulong)nowMs)
            {
                _idleTimes.Set(tenant.Id, IdleAt(tenant));
                continue;
            }

            _idleTimes.Remove(tenant.Id);
            tenant.Idle = true;
            Update(tenant);
        }
    }

    /// <summary>Puts a tenant where it belongs after its bytes, its quota or the top of its order changed.</summary>
    public void Update(TenantAccount tenant)
    {
        UpdateClaim(tenant);
        var (group, rank) = Place(tenant);
        if (!ReferenceEquals(group, tenant.Group))
        {
            tenant.Group?.Remove(tenant.Id);
            tenant.Group = group;
        }

        group?.Set(tenant.Id, rank);
    }

    /// <summary>The tenant whose first block goes next, or null when nobody has one that may go.</summary>
    public TenantAccount? Pick()
    {
        if (_expired.Count > 0)
        {
            return _tenants[_expired.Top];
        }

        if (_unused.Count > 0)
        {
            return _tenants[_unused.Top];
        }

        var (fairShare, scale) = Shares();
        var unpinned = MoreAbove(0, fairShare, scale, out var unpinnedUse);
        var pinned = MoreAbove(1, fairShare, scale, out var pinnedUse);
        if (unpinned is not null && (unpinnedUse > 1 || pinnedUse <= 1))
        {
            return unpinned;
        }

        return pinned ?? unpinned;
    }

    /// <summary>Verifies that groups and claims are those that follow from the accounts.</summary>
    /// <exception cref="InvalidOperationException">They are not; the message says which.</exception>
    public void Check()
    {
        var grouped = 0;
        foreach (var tenant in _tenants)
        {
            tenant.Order.Check();
            var (group, rank) = Place(tenant);
            PrefixTree.Require(ReferenceEquals(group, tenant.Group), $"tenant '{tenant.Name}' is in a wrong group");
            PrefixTree.Require(
                group is null || group.RankOf(tenant.Id) == rank, $"tenant '{tenant.Name}' has a wrong rank");
            PrefixTree.Require(
                tenant.Claims == (tenant.Count > 0 && !tenant.Idle), $"tenant '{tenant.Name}' claims wrongly");
            grouped += group is null ? 0 : 1;
        }

        RankHeap[] groups = [_expired, _unused, .. _fair, .. _quota];
        foreach (var group in groups)
        {
            group.Check();
        }

        PrefixTree.Require(groups.Sum(static group => group.Count) == grouped, "a group has tenants twice");
        var quotas = _tenants.Where(static tenant => tenant.Claims).Sum(static tenant => tenant.ClaimedQuotaBytes);
        PrefixTree.Require(quotas == _claimedQuotaBytes, $"{_claimedQuotaBytes} bytes of quotas counted, not {quotas}");
    }

    private (RankHeap? Group, ulong Rank) Place(TenantAccount tenant)
    {
        if (tenant.Order.Count == 0)
        {
            return (null, 0);
        }

        var rankClass = BlockRank.ClassOf(tenant.Order.TopRank);
        if (rankClass == BlockRank.Expired)
        {
            return (_expired, 0);
        }

        if (tenant.Idle && rankClass == BlockRank.Unpinned)
        {
            return (_unused, (ulong)Math.Max(tenant.UsedMs, 0));
        }

        var pinned = rankClass == BlockRank.SoftPinned ? 1 : 0;
        return tenant.QuotaBytes == 0
            ? (_fair[pinned], ulong.MaxValue - (ulong)tenant.Bytes)
            : (_quota[pinned], ulong.MaxValue -
                BitConverter.DoubleToUInt64Bits((double)tenant.Bytes / tenant.QuotaBytes));
    }

    private TenantAccount? MoreAbove(int pinned, double fairShare, double scale, out double use)
    {
        var fair = _fair[pinned].Count > 0 ? _tenants[_fair[pinned].Top] : null;
        var quota = _quota[pinned].Count > 0 ? _tenants[_quota[pinned].Top] : null;
        var fairUse = fair is null ? -1 : fair.Bytes / fairShare;
        var quotaUse = quota is null ? -1 : quota.Bytes / (quota.QuotaBytes * scale);
        use = Math.Max(fairUse, quotaUse);
        return quotaUse > fairUse ? quota : fair;
    }

    private (double FairShare, double Scale) Shares()
    {
        var capacity = (double)_options.CapacityBytes;
        var others = Math.Max(_claimsWithout, 1);
        var even = capacity / (others + _claimsWithQuota);
        var fair = Math.Max((capacity - _claimedQuotaBytes) / others, even);
        var wanted = _claimedQuotaBytes + (_claimsWithout * fair);
        var scale = wanted > capacity ? capacity / wanted : 1;
        return (fair * scale, scale);
    }

    private void UpdateClaim(TenantAccount tenant)
    {
        var claims = tenant.Count > 0 && !tenant.Idle;
        if (claims == tenant.Claims && tenant.ClaimedQuotaBytes == tenant.QuotaBytes)
        {
            return;
        }

        AddClaim(-1);
        tenant.Claims = claims;
        tenant.ClaimedQuotaBytes = tenant.QuotaBytes;
        AddClaim(1);

        void AddClaim(int sign)
        {
            if (tenant.Claims)
            {
                _claimedQuotaBytes += sign * tenant.ClaimedQuotaBytes;
                _claimsWithQuota += tenant.ClaimedQuotaBytes > 0 ? sign : 0;
                _claimsWithout += tenant.ClaimedQuotaBytes > 0 ? 0 : sign;
            }
        }
    }

    private ulong IdleAt(TenantAccount tenant) => (ulong)Math.Max(tenant.UsedMs + _options.TenantIdleMs, 0);
}
