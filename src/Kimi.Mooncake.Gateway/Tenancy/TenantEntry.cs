namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>A tenant, as the tenants file says.</summary>
/// <param name="Tenant">Its name.</param>
/// <param name="KeyHashes">SHA-256 of each of its API keys, 32 bytes.</param>
/// <param name="Namespaces">Shared namespaces that it may choose.</param>
/// <param name="StoreQuotaBytes">Most bytes in each store; null where the file says nothing.</param>
public sealed record TenantEntry(
    string Tenant, IReadOnlyList<byte[]> KeyHashes, IReadOnlySet<string> Namespaces, long? StoreQuotaBytes);
