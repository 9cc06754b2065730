namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>A conductor in another process may be away.</summary>
[TestFixture]
internal sealed class RemoteRouterTests
{
    [Test]
    public async Task Conductor_Away_IsUnavailableUntilItIsBack()
    {
        await using var cluster = await SimulatedCluster.StartAsync();
        var router = cluster.Remote();

        await cluster.StopConductorAsync();

        await Assert.ThatAsync(
            () => router.RouteAsync(RoutingTests.Query(), CancellationToken.None),
            Throws.InstanceOf<ConductorUnavailableException>()
                .With.Message.Contains(cluster.ConductorAddress.AbsoluteUri));
        await Eventually.BecomesAsync(() => router.State().AwayReason.Length > 0, "the news");
        await cluster.StartConductorAsync(cluster.ConductorAddress.Port);
        await Eventually.BecomesAsync(() => router.State().AwayReason.Length == 0, "the return");
    }

    [Test]
    public async Task Generator_WithoutConductor_WaitsAndThenSaysSo()
    {
        await using var cluster = await SimulatedCluster.StartAsync();
        var generator = cluster.Generator(new RetryOptions { RouteWaitMs = 100 }, cluster.Remote());
        await cluster.StopConductorAsync();

        await Assert.ThatAsync(
            () => GenerationStream.Start(generator, GenerationStream.Request(4, sampled: false)),
            Throws.InstanceOf<ConductorUnavailableException>());
        await Eventually.BecomesAsync(() => !generator.Status().Ready, "the end of patience");
        Assert.That(generator.Status().NotReadyReason, Does.Contain("conductor"));
        await cluster.StartConductorAsync(cluster.ConductorAddress.Port);
    }
}
