using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>Who may use the product, and how much of the stores.</summary>
public sealed record TenantsOptions
{
    /// <summary>
    /// File of tenants, their API keys, shared namespaces and store quotas; needed by gateways and by processes with a
    /// store. Empty: no key is needed, and the header <c>x-tenant-id</c> is believed.
    /// </summary>
    [Setting("JSON file of tenants: API keys, shared namespaces, store quotas; read by gateways and by processes with "
        + "a store. Empty: no key is needed and x-tenant-id is believed.")]
    public string File { get; init; } = "";

    /// <summary>Interval at which it is seen whether the file has changed.</summary>
    [Setting("Interval at which it is seen whether the tenants file has changed.", Unit = "s", Min = 1, Max = 3600)]
    public int ReloadSeconds { get; init; } = 5;
}
