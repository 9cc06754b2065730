using System.Diagnostics;
using Kimi.Mooncake.Cluster;

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

    private static async Task UntilAsync(Func<bool> condition)
    {
        var begun = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.That(Stopwatch.GetElapsedTime(begun), Is.LessThan(RunningGateway.Patience));
            await Task.Yield();
        }
    }
}
