using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Gateway.Contexts;

namespace Kimi.Mooncake.Gateway.Tests.Contexts;

/// <summary>What becomes of contexts whose prefill takes long or fails.</summary>
[TestFixture]
internal sealed class ContextPrefillTests
{
    private ContextGateway _server = null!;

    [SetUp]
    public async Task StartAsync() => _server = await ContextGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _server.DisposeAsync();

    [Test]
    public async Task Prefill_ThatTakesLong_IsAnsweredAsPendingAndEndsReady()
    {
        var prefill = new TaskCompletionSource();
        _server.Generator.Prefill = _ => prefill.Task;

        var creating = _server.CreateAsync();
        await UntilAsync(() => _server.Generator.Requests.Count == 1);
        _server.Time.Advance(TimeSpan.FromSeconds(1));
        var created = await creating;
        prefill.SetResult();

        Assert.That(created.GetProperty("status").GetString(), Is.EqualTo("pending"));
        await _server.BecomesAsync(created.GetProperty("id").GetString()!, "ready");
    }

    [Test]
    public async Task Prefill_ThatCannotBe_IsAnError()
    {
        _server.Generator.Refusal = new PromptTooLongException(50, 40);

        var created = await _server.CreateAsync();

        Assert.That(created.GetProperty("status").GetString(), Is.EqualTo("error"));
        var error = created.GetProperty("error");
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("invalid_request_error"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("40"));
    }

    [Test]
    public async Task Prefill_ThatWasRefused_IsDoneByTheNextGateway()
    {
        _server.Generator.Refusal = new QueueFullException(5, 5);
        var created = await _server.CreateAsync();
        _server.Generator.Refusal = null;

        await _server.RestartAsync();

        Assert.That(created.GetProperty("status").GetString(), Is.EqualTo("pending"));
        await _server.BecomesAsync(created.GetProperty("id").GetString()!, "ready");
        Assert.That(_server.Generator.Requests.Single().Retain, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Prefill_WithoutRoomToWait_IsAnsweredAtOnceAndDoneLater()
    {
        await _server.RestartAsync(new ContextCachingOptions { PrefillsMax = 1, PrefillsWaitingMax = 0 });
        var prefill = new TaskCompletionSource();
        _server.Generator.Prefill = _ => prefill.Task;
        var first = _server.CreateAsync();
        await UntilAsync(() => _server.Generator.Requests.Count == 1);

        var second = await _server.CreateAsync();

        Assert.That(second.GetProperty("status").GetString(), Is.EqualTo("pending"));
        prefill.SetResult();
        await first;
        _server.Time.Advance(TimeSpan.FromSeconds(30));
        await _server.BecomesAsync(second.GetProperty("id").GetString()!, "ready");
    }

    [Test]
    public async Task Prefill_OfAContextThatChangesAgainAndAgain_IsDoneOnceMoreAsItIsThen()
    {
        var prefill = new TaskCompletionSource();
        _server.Generator.Prefill = _ => prefill.Task;
        var creating = _server.CreateAsync();
        await UntilAsync(() => _server.Generator.Requests.Count == 1);
        var id = (await _server.Catalog.ListPendingAsync(0, 10, CancellationToken.None)).Single().Id;
        var changing = new List<Task>();
        foreach (var seconds in (int[])[5000, 6000, 7000])
        {
            changing.Add(_server.OkAsync(HttpMethod.Put, $"/v1/caching/{id}", $"{{'ttl':{seconds}}}"));
            var expires = 1000 * (_server.NowSeconds + seconds);
            while ((await _server.Catalog.GetAsync("", id, CancellationToken.None))!.ExpiresUnixMs < expires)
            {
                await Task.Yield();
            }

        }

        // What a change asks for is asked for once its change is there; each answer waits for its prefill.
        _server.Time.Advance(TimeSpan.FromSeconds(1));
        await Task.WhenAll([creating, .. changing]);
        prefill.SetResult();

        await _server.BecomesAsync(id, "ready");
        await UntilAsync(() => _server.Generator.Requests.Count == 2 && _server.Generator.Active == 0);
        Assert.That(_server.Generator.Requests[^1].Retain.Single().Retention.PinSeconds, Is.EqualTo(6999));
    }

    [Test]
    public async Task Scan_ThatFailsForWhateverReason_ComesAgain()
    {
        // Arrange
        _server.Generator.Refusal = new QueueFullException(5, 5);
        var created = await _server.CreateAsync();
        _server.Generator.Refusal = null;
        _server.Catalogs = FailingCatalog.Of;
        await _server.RestartAsync();

        // Act
        _server.Time.Advance(TimeSpan.FromSeconds(30));

        // Assert
        await _server.BecomesAsync(created.GetProperty("id").GetString()!, "ready");
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var begun = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.That(Stopwatch.GetElapsedTime(begun), Is.LessThan(RunningGateway.Patience));
            await Task.Yield();
        }
    }

    /// <summary>A catalog whose first search for pending contexts fails, in a way that no caller foresees.</summary>
    [SuppressMessage("Performance", "CA1852", Justification = "The proxy that the runtime makes derives from it.")]
    private class FailingCatalog : DispatchProxy
    {
        private IContextCatalog _catalog = null!;
        private bool _hasFailed;

        public static IContextCatalog Of(IContextCatalog catalog)
        {
            var failing = Create<IContextCatalog, FailingCatalog>();
            ((FailingCatalog)(object)failing)._catalog = catalog;
            return failing;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            if (targetMethod!.Name == nameof(IContextCatalog.ListPendingAsync) && !_hasFailed)
            {
                _hasFailed = true;
                throw new ContextLimitException("the page is larger than a message");
            }

            return targetMethod.Invoke(_catalog, args);
        }
    }
}
