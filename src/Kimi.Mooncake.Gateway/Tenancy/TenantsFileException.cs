namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>A tenants file that cannot be used. The message names file, entry, field and what was expected.</summary>
public sealed class TenantsFileException(string message, Exception? inner = null) : Exception(message, inner);
