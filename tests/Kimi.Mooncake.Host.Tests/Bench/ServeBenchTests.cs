using System.Text.Json;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Client;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Bench;

[TestFixture]
internal sealed class ServeBenchTests
{
    private static readonly ServePlan Plan =
        new() { Conversations = 6, Turns = 4, Documents = 2, DocumentTokens = 2048, Seed = 3 };

    [Test]
    public async Task Run_GoodServer_JudgesEveryTurnAndTheCounters()
    {
        await using var server = await FakeServer.StartAsync();

        var report = await RunAsync(server);

        Assert.That(report.IsGood, Is.True, string.Join('\n', report.Faults));
        Assert.That(report.AnswersRight, Is.EqualTo(24));
        Assert.That((report.PromptTokens, report.CachedTokens), Is.EqualTo((2400, 24 * 64)));
        Assert.That(report.PrefillTokensCounted, Is.EqualTo(24 * 36));
        Assert.That(report.GoodputRequestsPerS, Is.EqualTo(report.RequestsPerS));
        Assert.That(
            server.Requests.Select(request => request["messages"]!.AsArray().Count).Order().Distinct(),
            Is.EqualTo(new[] { 1, 3, 5, 7 }));
        Assert.That(
            server.Requests.Last(request => request["messages"]!.AsArray().Count == 3)["messages"]![1]!["role"]!
                .GetValue<string>(),
            Is.EqualTo("assistant"));
    }

    [Test]
    public async Task Run_ServerThatComputesLessThanItReports_IsCaught()
    {
        await using var server = await FakeServer.StartAsync(tokensNotCounted: 1);

        var report = await RunAsync(server);

        Assert.That((report.CachedTokensTrue, report.IsGood), Is.EqualTo((false, false)));
    }

    [Test]
    public async Task Run_TtftLimitThatNobodyMeets_GivesNoGoodput()
    {
        await using var server = await FakeServer.StartAsync();

        var report = await RunAsync(server, Plan with { TtftMsMax = 0.0001 });

        Assert.That((report.GoodputRequestsPerS, report.AnswersRight), Is.EqualTo((0.0, 24)));
    }

    [Test]
    public async Task BenchServe_ComparedWithAServerThatBreaksOff_FailsAndCountsTheDifferences()
    {
        await using var server = await FakeServer.StartAsync();
        await using var broken = await FakeServer.StartAsync(FakeBehaviour.BreaksOff);

        var run = await CommandRun.OfAsync(
            "bench", "serve", "--server", server.Address, "--compare", broken.Address, "--conversations", "2",
            "--turns", "2", "--documents", "1", "--document-tokens", "1024", "--json");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed), run.Error);
        using var report = JsonDocument.Parse(run.Output);
        var comparison = report.RootElement.GetProperty("comparison");
        Assert.That(comparison.GetProperty("answers_equal").GetInt32(), Is.Zero);
        Assert.That(comparison.GetProperty("answers_different").GetInt32(), Is.EqualTo(4));
    }

    [Test]
    public async Task BenchServe_MoreTurnsThanFacts_SaysHowManyThereIsRoomFor()
    {
        var run = await CommandRun.OfAsync("bench", "serve", "--turns", "7", "--document-tokens", "1024");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("--turns 7").And.Contain("room for 6 facts"));
    }

    [Test]
    public void Distribution_OfAHundredValues_TakesTheNearestRank()
    {
        var values = Distribution.Of(Enumerable.Range(1, 100).Reverse().Select(value => (double)value));

        Assert.That((values.P50, values.P90, values.P99, values.Max), Is.EqualTo((50.0, 90.0, 99.0, 100.0)));
    }

    [Test]
    public void Metrics_WithLabels_AreAddedUp()
    {
        var metrics = MetricsText.Parse("# HELP a b\na{x=\"1 2\"} 1.5\na{x=\"}\"} 2 1700000000\nb NaN\nc +Inf\n");

        Assert.That((metrics.Get("a"), metrics.Get("c")), Is.EqualTo((3.5, double.PositiveInfinity)));
        Assert.That(metrics.Find("d"), Is.Null);
        Assert.Throws<ServerException>(() => MetricsText.Parse("just words\n"));
    }

    private static async Task<ServeReport> RunAsync(FakeServer server, ServePlan? plan = null)
    {
        using var client = new CompletionClient(new Uri(server.Address));
        var terminal = new Terminal(TextWriter.Null, TextWriter.Null, isInteractive: false);
        return await new ServeBench(plan ?? Plan, client, new ClusterLoad([client]), terminal)
            .RunAsync(CancellationToken.None);
    }
}
