using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>What one tenant has in the index, and the order in which its own blocks go.</summary>
internal sealed class TenantAccount
{
    private readonly long[] _pinnedBytes = new long[(int)PinKind.Hard + 1];

    public TenantAccount(string name, int id, ChunkedArray<int> orderPositions)
    {
        Name = name;
        Id = id;
        Order = new RankHeap(orderPositions);
    }

    public string Name { get; }

    public int Id { get; }

    /// <summary>Its blocks that may go, the next one at the top.</summary>
    public RankHeap Order { get; }

    /// <summary>Bytes that it may have; 0: a fair share.</summary>
    public long QuotaBytes { get; set; }

    public long Bytes { get; set; }

    public int Count { get; set; }

    /// <summary>When it last stored or read.</summary>
    public long UsedMs { get; set; }

    /// <summary>Whether it did neither for so long that it has no claim to a share.</summary>
    public bool Idle { get; set; }

    /// <summary>
    /// The group of tenants in which <see cref="TenantShares"/> has it; null when none of its blocks may go.
    /// </summary>
    public RankHeap? Group { get; set; }

    /// <summary>Whether it is counted among those that claim a share, and with which quota.</summary>
    public bool Claims { get; set; }

    public long ClaimedQuotaBytes { get; set; }

    public ref long PinnedBytes(PinKind pin) => ref _pinnedBytes[(int)pin];
}
