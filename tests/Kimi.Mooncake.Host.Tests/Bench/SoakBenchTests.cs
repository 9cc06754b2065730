using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Client;

namespace Kimi.Mooncake.Host.Tests.Bench;

[TestFixture]
internal sealed class SoakBenchTests
{
    [Test]
    public async Task Run_GoodServer_EveryAnswerIsRightAndThePoolEmpty()
    {
        await using var server = await FakeServer.StartAsync();

        var report = await RunAsync(server, new SoakPlan(Clients: 8, Requests: 60, DisconnectShare: 0.33, Seed: 11));

        Assert.That(report.IsGood, Is.True, string.Join('\n', report.Faults));
        Assert.That(report.Finished + report.Disconnected, Is.EqualTo(60));
        Assert.That(report.AnswersRight, Is.EqualTo(report.Finished));
        Assert.That(report.Disconnected, Is.Positive);
    }

    [Test]
    public async Task Run_RefusingServer_IsReported()
    {
        await using var server = await FakeServer.StartAsync(FakeBehaviour.RefusesWithAnErrorObject);

        var report = await RunAsync(server, new SoakPlan(Clients: 2, Requests: 4, DisconnectShare: 0, Seed: 1));

        Assert.That(report.IsGood, Is.False);
        Assert.That(report.Failed, Is.EqualTo(4));
        Assert.That(report.Faults, Has.Some.Contains("the queue is full"));
    }

    private static async Task<SoakReport> RunAsync(FakeServer server, SoakPlan plan)
    {
        using var client = new CompletionClient(new Uri(server.Address));
        var terminal = new Terminal(TextWriter.Null, TextWriter.Null, isInteractive: false);
        return await new SoakBench(plan, client, terminal).RunAsync(() => 0, CancellationToken.None);
    }
}
