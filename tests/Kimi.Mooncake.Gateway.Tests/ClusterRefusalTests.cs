using System.Net;
using System.Text.Json;
using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>What a client is told when the cluster takes no request.</summary>
[TestFixture]
internal sealed class ClusterRefusalTests
{
    private const string Body = "{'model':'test/kimi','prompt':'hi'}";

    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync() => _gateway = await RunningGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [TestCase(1, 1)]
    [TestCase(2001, 3)]
    [TestCase(30_000, 30)]
    public async Task Cluster_Busy_SaysWhenToRetry(int retryAfterMs, int seconds)
    {
        _gateway.Generator.Refusal = new ClusterBusyException(
            "64 requests wait to be routed", TimeSpan.FromMilliseconds(retryAfterMs));

        using var response = await _gateway.PostAsync("/v1/completions", Body);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(response.Headers.RetryAfter?.Delta, Is.EqualTo(TimeSpan.FromSeconds(seconds)));
        var error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("queue_full"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("64 requests"));
    }

    [Test]
    public async Task Cluster_WithoutWorker_IsNotReady() =>
        await AssertNotReadyAsync(new NoWorkerException("no worker is registered"), "no worker is registered");

    [Test]
    public async Task Worker_Draining_IsNotReady() => await AssertNotReadyAsync(new DrainingException(), "draining");

    private async Task AssertNotReadyAsync(Exception refusal, string message)
    {
        _gateway.Generator.Refusal = refusal;

        using var response = await _gateway.PostAsync("/v1/completions", Body);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That(response.Headers.RetryAfter?.Delta, Is.EqualTo(TimeSpan.FromSeconds(1)));
        var error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("not_ready"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message));
    }
}
