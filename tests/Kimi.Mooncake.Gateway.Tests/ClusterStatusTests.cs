using System.Net;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>What a gateway says of the cluster behind it.</summary>
[TestFixture]
internal sealed class ClusterStatusTests
{
    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _gateway = await RunningGateway.StartAsync();
        _gateway.Generator.Cluster = Cluster(degraded: "");
    }

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Health_OfACluster_ListsNodesByRole()
    {
        ChatTests.AssertJson(
            System.Text.Json.JsonElement.Parse(await ReadAsync("/health")),
            "{'status':'ok','ready':true,'reason':'','model':'test/kimi','context_length_tokens':1000,'waiting':1," +
            "'running':2,'blocks':{'free':5,'cached':3,'held':2,'total':10}," +
            "'degraded':false,'degraded_reason':'','waiting_for_workers':4,'routed':5,'nodes':{" +
            $"'prefill':[{Node("p", "draining", "it was told to")},{Node("both", "ready", "")}]," +
            $"'decode':[{Node("both", "ready", "")}],'store':[]}}}}");
    }

    [Test]
    public async Task Health_WithoutDecodeWorker_IsDegraded()
    {
        _gateway.Generator.Cluster = Cluster(degraded: "no decode worker is ready");

        var health = System.Text.Json.JsonElement.Parse(await ReadAsync("/health"));

        Assert.That(health.GetProperty("status").GetString(), Is.EqualTo("degraded"));
        Assert.That(health.GetProperty("degraded").GetBoolean());
        Assert.That(health.GetProperty("degraded_reason").GetString(), Is.EqualTo("no decode worker is ready"));
    }

    [Test]
    public async Task Metrics_OfACluster_StandByNodeAndReason()
    {
        _gateway.Generator.Metrics =
        [
            new Metric("steps_total", IsCounter: true, "Steps.", 30),
            new Metric("request_retries_total", IsCounter: true, "Retries.", 1, "reason=\"node_lost\""),
            new Metric("request_retries_total", IsCounter: true, "Retries.", 2, "reason=\"draining\""),
        ];

        var text = await ReadAsync("/metrics");

        Assert.That(text, Does.Contain("\nmooncake_steps_total 30\n"));
        Assert.That(text, Does.Contain(
            "# HELP mooncake_request_retries_total Retries.\n# TYPE mooncake_request_retries_total counter\n" +
            "mooncake_request_retries_total{reason=\"node_lost\"} 1\n" +
            "mooncake_request_retries_total{reason=\"draining\"} 2\n"));
        Assert.That(text, Does.Contain(
            "# HELP mooncake_node_steps_total Steps.\n# TYPE mooncake_node_steps_total counter\n" +
            "mooncake_node_steps_total{node=\"p\"} 10\nmooncake_node_steps_total{node=\"both\"} 20\n"));
        Assert.That(text, Does.Contain("mooncake_node_requests_routed{node=\"both\"} 3\n"));
    }

    [Test]
    public async Task Metrics_NodeWithQuotesInItsName_AreEscaped()
    {
        var cluster = Cluster(degraded: "");
        _gateway.Generator.Cluster = cluster with { Nodes = [cluster.Nodes[0] with { NodeId = "a\"b\\c" }] };

        Assert.That(await ReadAsync("/metrics"), Does.Contain("_routed{node=\"a\\\"b\\\\c\"} 3\n"));
    }

    private static ClusterStatus Cluster(string degraded) => new()
    {
        DegradedReason = degraded,
        Waiting = 4,
        Routed = 5,
        Nodes =
        [
            Status("p", NodeRoles.Prefill, "draining", "it was told to", steps: 10),
            Status("both", NodeRoles.Prefill | NodeRoles.Decode, "ready", "", steps: 20),
        ],
    };

    private static NodeStatus Status(string id, NodeRoles roles, string health, string reason, double steps) => new()
    {
        NodeId = id,
        Roles = roles,
        Address = $"http://{id}",
        Health = health,
        HealthReason = reason,
        Waiting = 1,
        Running = 2,
        Routed = 3,
        BlocksTotal = 9,
        BlocksFree = 4,
        BlocksCached = 3,
        BlocksHeld = 2,
        IndexedBlocks = 5,
        Metrics = [new Metric("steps_total", IsCounter: true, "Steps.", steps)],
    };

    private static string Node(string id, string health, string reason) =>
        $"{{'node_id':'{id}','address':'http://{id}','health':'{health}','reason':'{reason}','waiting':1," +
        "'running':2,'routed':3,'indexed_blocks':5,'blocks':{'free':4,'cached':3,'held':2,'total':9}}";

    private async Task<string> ReadAsync(string path)
    {
        using var response = await _gateway.Client.GetAsync(new Uri(path, UriKind.Relative));
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        return await response.Content.ReadAsStringAsync();
    }
}
