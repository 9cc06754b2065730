using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>What a tenants file says of quotas is what a store keeps to.</summary>
[TestFixture]
internal sealed class StoreQuotasTests
{
    [Test]
    public async Task File_AtStartAndAfterAChange_GivesTheStoreItsQuotas()
    {
        // Arrange
        using var folder = new TemporaryFolder();
        var time = new HandTime();
        Write(folder.Tenants, ("a", 1_000_000), ("b", 2_000_000), ("c", 0));
        using var tenants = new TenantDirectory(
            new TenantsOptions { File = folder.Tenants }, time, NullLogger.Instance);
        await using var store = KvBlockStore.Open(
            new KvBlockStoreOptions { Directory = folder.Store, TenantQuotaBytes = 500_000 },
            new KvLayout(KvElementType.F32, 2, 12, 4, 16), "model");

        // Act
        var quotas = new StoreQuotas(store, tenants);
        var atStart = Quotas(store);
        Write(folder.Tenants, ("a", 3_000_000), ("d", 4_000_000));
        time.Fire();
        var changed = Quotas(store);
        quotas.Dispose();
        Write(folder.Tenants, ("a", 5_000_000_000));
        time.Fire();

        // Assert
        Assert.That((atStart["a"], atStart["b"]), Is.EqualTo((1_000_000, 2_000_000)));
        Assert.That(atStart.GetValueOrDefault("c", 500_000), Is.EqualTo(500_000), "what all have");
        Assert.That((changed["a"], changed["b"], changed["d"]), Is.EqualTo((3_000_000, 500_000, 4_000_000)));
        Assert.That(Quotas(store)["a"], Is.EqualTo(3_000_000), "it has ended");
    }

    private static Dictionary<string, long> Quotas(KvBlockStore store) =>
        store.Tenants().ToDictionary(tenant => tenant.Name, tenant => tenant.QuotaBytes);

    private static void Write(string path, params (string Tenant, long Bytes)[] tenants) => File.WriteAllText(
        path,
        "{\"tenants\":[" + string.Join(',', tenants.Select((t, index) =>
            $"{{\"tenant\":\"{t.Tenant}\",\"api_key_sha256\":\"{new string('0', 62)}{t.Tenant}{index}\"," +
            $"\"store_quota_bytes\":{t.Bytes}}}")) + "]}");

    /// <summary>A clock whose timers fire when the test says so.</summary>
    private sealed class HandTime : TimeProvider
    {
        private readonly List<Action> _timers = [];

        public void Fire() => _timers.ForEach(fire => fire());

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _timers.Add(() => callback(state));
            return System.CreateTimer(static _ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }
}
