using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Cluster.Tests.Contexts;

/// <summary>A catalog of this process.</summary>
[TestFixture]
internal sealed class LocalContextCatalogTests : ContextCatalogConformance
{
    protected override IContextCatalog Catalog => Local;
}

/// <summary>A catalog of another process, over gRPC.</summary>
[TestFixture]
internal sealed class RemoteContextCatalogTests : ContextCatalogConformance
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private LoopbackServer _server = null!;
    private PeerChannels _channels = null!;
    private RemoteContextCatalog _catalog = null!;

    protected override IContextCatalog Catalog => _catalog;

    [SetUp]
    public async Task Serve()
    {
        _channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        _server = await LoopbackServer.StartAsync(new ContextsService(Local));
        _catalog = Remote(_server);
    }

    [TearDown]
    public async Task EndServing()
    {
        _channels.Dispose();
        await _server.DisposeAsync();
    }

    [Test]
    public async Task Conductor_Away_SaysSo()
    {
        await _server.DisposeAsync();

        var fault = await Assert.ThrowsAsync<ContextCatalogException>(
            () => _catalog.GetAsync("a", "cache-x", CancellationToken.None));

        Assert.That(fault!.Message, Does.Contain("conductor"));
        _server = await LoopbackServer.StartAsync(new ContextsService(Local));
    }

    [Test]
    public async Task Conductor_WithoutACatalog_SaysWhatToSet()
    {
        await using var server = await LoopbackServer.StartAsync(new ContextsService(null));
        var catalog = Remote(server);

        var fault = await Assert.ThrowsAsync<ContextsOffException>(
            () => catalog.GetAsync("a", "cache-x", CancellationToken.None));

        Assert.That(fault!.Message, Does.Contain("contexts.directory"));
    }

    private RemoteContextCatalog Remote(LoopbackServer server)
    {
        var address = server.Address.AbsoluteUri.TrimEnd('/');
        return new RemoteContextCatalog(_channels.Get(address), address, Patience, TimeProvider.System);
    }
}
