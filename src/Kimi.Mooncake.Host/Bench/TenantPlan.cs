using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench tenants</c> is to do.</summary>
internal sealed record TenantPlan
{
    // Control tokens, a question and an answer come with each document.
    private const int TokensBesidesDocument = 192;

    // The quieter tenant stays within its quota, with some room to spare.
    private const double QuotaOverNeed = 1.5;

    // Both quotas fit into the store, below the share at which it begins to evict.
    private const double DiskOverQuota = 3;

    private const int StoreMemoryBlocksMin = 64;

    /// <summary>Documents of the first tenant.</summary>
    public required int Documents { get; init; }

    /// <summary>Tokens of each document, of either tenant.</summary>
    public required int DocumentTokens { get; init; }

    /// <summary>How many times its quota the second tenant writes.</summary>
    public required int Times { get; init; }

    /// <summary>Makes the documents.</summary>
    public required int Seed { get; init; }

    /// <summary>Layout of the server's blocks.</summary>
    public required KvLayout Layout { get; init; }

    /// <summary>Bytes of KV that a document and a question about it fill.</summary>
    public long BytesPerDocument =>
        (long)Layout.BytesPerBlock * ((DocumentTokens + TokensBesidesDocument) / Layout.BlockTokens);

    /// <summary>Quota of each tenant, in bytes.</summary>
    public long QuotaBytes => (long)(BytesPerDocument * Documents * QuotaOverNeed);

    /// <summary>Bytes that the store may fill.</summary>
    public long DiskBytes => (long)(QuotaBytes * DiskOverQuota);

    /// <summary>Memory of the store: less than the quota, but as much as a store needs.</summary>
    public long MemoryBytes => Math.Max(QuotaBytes / 2, (long)Layout.BytesPerBlock * StoreMemoryBlocksMin);

    /// <summary>The pool holds two documents, so that what is found again comes from the store.</summary>
    public long PoolBytes => BytesPerDocument * 2;

    /// <summary>
    /// Documents of the second tenant, each asked about once: at least as many as fill so many quotas.
    /// </summary>
    public int FloodDocuments =>
        (int)((QuotaBytes * Times / ((long)Layout.BytesPerBlock * (DocumentTokens / Layout.BlockTokens))) + 1);
}
