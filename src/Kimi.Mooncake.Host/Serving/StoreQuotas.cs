using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>Gives the quotas of the tenants file to a store, now and whenever the file changes.</summary>
internal sealed class StoreQuotas : IDisposable
{
    private readonly KvBlockStore _store;
    private readonly TenantDirectory _tenants;
    private readonly Lock _gate = new();
    private HashSet<string> _set = [];
    private bool _closed;

    /// <param name="store">The store; outlives this.</param>
    /// <param name="tenants">The tenants; outlive this.</param>
    public StoreQuotas(KvBlockStore store, TenantDirectory tenants)
    {
        _store = store;
        _tenants = tenants;
        tenants.Changed += Apply;
        Apply();
    }

    /// <summary>Changes no quota any more.</summary>
    public void Dispose()
    {
        _tenants.Changed -= Apply;
        lock (_gate)
        {
            _closed = true;
        }
    }

    private void Apply()
    {
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }

            var quotas = _tenants.Entries
                .Where(entry => entry.StoreQuotaBytes > 0)
                .ToDictionary(entry => entry.Tenant, entry => entry.StoreQuotaBytes!.Value);
            foreach (var tenant in _set.Except(quotas.Keys))
            {
                _store.SetQuota(tenant, 0);
            }

            foreach (var (tenant, bytes) in quotas)
            {
                _store.SetQuota(tenant, bytes);
            }

            _set = [.. quotas.Keys];
        }
    }
}
