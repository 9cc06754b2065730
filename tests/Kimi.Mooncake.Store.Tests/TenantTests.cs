using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>What one tenant can take from another.</summary>
[TestFixture]
internal sealed class TenantTests
{
    private const int BlocksPerPrompt = 5;
    private const int ModestPrompts = 30;
    private const double PointsLostMax = 2;

    private static readonly BlockRetention Pinned = new(PinKind.Soft, PinSeconds: 3600);

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [TestCase(true, false)]
    [TestCase(true, true)]
    [TestCase(false, false)]
    [TestCase(false, true)]
    public async Task Put_OneTenantWritesTenTimesItsQuota_AnotherKeepsItsHits(bool quotas, bool pins)
    {
        // Arrange
        await using var store = TestBlocks.Open(Options);
        var quotaBytes = quotas ? SetQuotas(store) : store.Statistics().LiveCapacityBytes / 2;
        StorePrompts(store, "modest", 0, ModestPrompts);
        var before = HitRate(store);

        // Act
        var greedy = 0;
        for (var written = 0L; written < 10 * quotaBytes; written += BlocksPerPrompt * store.BlockBytes)
        {
            StorePrompts(store, "greedy", ModestPrompts + greedy++, 1, pins ? Pinned : default);
        }

        // Assert
        Assert.That(before, Is.EqualTo(100));
        Assert.That(before - HitRate(store), Is.LessThanOrEqualTo(PointsLostMax));
        Assert.That(store.Statistics().Evicted, Is.GreaterThan(100), "somebody had to go");
        if (quotas)
        {
            var usage = store.Tenants().Single(tenant => tenant.Name == "greedy");
            Assert.That(usage.Bytes, Is.LessThanOrEqualTo(usage.QuotaBytes));
        }
    }

    [Test]
    public async Task Quota_OfTheOptions_HoldsForWhoHasNoneOfItsOwn()
    {
        await using var store = TestBlocks.Open(Options with { TenantQuotaBytes = 64 * 1024 });
        store.SetQuota("own", 512 * 1024);

        StorePrompts(store, "own", 0, 40);
        StorePrompts(store, "other", 40, 40);

        var bytes = store.Tenants().ToDictionary(tenant => tenant.Name, tenant => tenant.Bytes);
        Assert.That(bytes["other"], Is.InRange(32 * 1024, 64 * 1024));
        Assert.That(bytes["own"], Is.InRange(40 * BlocksPerPrompt * store.BlockBytes, 512 * 1024));
        Assert.That(store.Statistics().EvictedForQuota, Is.GreaterThan(100));
    }

    [Test]
    public async Task Restart_TenantsOfBlocks_AreStillWhoPays()
    {
        await using (var store = TestBlocks.Open(Options))
        {
            StorePrompts(store, "modest", 0, 10);
            StorePrompts(store, "greedy", 10, 20);
        }

        await using var again = TestBlocks.Open(Options);

        Assert.That(
            again.Tenants().Where(tenant => tenant.Blocks > 0).Select(tenant => (tenant.Name, tenant.Blocks)),
            Is.EquivalentTo(new[] { ("modest", 50L), ("greedy", 100L) }));
    }

    private KvBlockStoreOptions Options => TestBlocks.SmallOptions(_folder.Path);

    private static long SetQuotas(KvBlockStore store)
    {
        var quota = store.Statistics().LiveCapacityBytes / 2;
        store.SetQuota("modest", quota);
        store.SetQuota("greedy", quota);
        return quota;
    }

    private static void StorePrompts(
        KvBlockStore store, string tenant, int first, int count, BlockRetention retention = default)
    {
        var attributes = new BlockAttributes(tenant, retention, BlockClass.Prompt);
        for (var number = first * BlocksPerPrompt; number < (first + count) * BlocksPerPrompt; number++)
        {
            if (number % BlocksPerPrompt == 0)
            {
                TestBlocks.Put(store, number, attributes);
            }
            else
            {
                TestBlocks.PutAfter(store, number, number - 1, attributes);
            }
        }
    }

    /// <summary>Share of the modest tenant's blocks that can be read, in percent; reading counts as a use.</summary>
    private static double HitRate(KvBlockStore store) =>
        100.0 * Enumerable.Range(0, ModestPrompts * BlocksPerPrompt).Count(number => TestBlocks.Has(store, number))
        / (ModestPrompts * BlocksPerPrompt);
}
