namespace Kimi.Mooncake.Store;

/// <summary>What a tenant has in the store.</summary>
/// <param name="Name">The tenant.</param>
/// <param name="Blocks">Blocks it pays for.</param>
/// <param name="Bytes">Bytes that they take on disk.</param>
/// <param name="QuotaBytes">Most bytes it may take; 0 for a fair share.</param>
public sealed record TenantUsage(string Name, long Blocks, long Bytes, long QuotaBytes);
