using System.Text.Json;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Bench;

/// <summary>A store node that is killed under load, in real processes.</summary>
[TestFixture]
internal sealed class ReplicaBenchTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("mooncake-replicas").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task BenchReplicas_SmallCluster_LosesNoRequest()
    {
        var config = Path.Combine(_folder, "1w3s.json");
        await File.WriteAllTextAsync(config, """
            {
              "settings": {
                "logging.level": "warning", "worker.threads": 1, "worker.kv_pool_bytes": "16MiB",
                "replicas.hot_requests_per_second": 0.1, "store.memory_bytes": "16MiB", "store.disk_bytes": "512MiB"
              },
              "processes": [
                { "name": "gateway", "role": "gateway" },
                { "name": "worker", "role": "prefill,decode" },
                { "name": "store", "role": "store", "count": 3, "settings": { "store.directory": "{dir}/store" } }
              ]
            }
            """);

        var run = await CommandRun.OfAsync(
            "bench", "replicas", "--config", config, "--dir", Path.Combine(_folder, "run"), "--documents", "3",
            "--document-tokens", "1600", "--requests-per-minute", "180", "--warm-seconds", "3", "--before-seconds",
            "2", "--after-seconds", "5", "--json");

        // How soon it recovers depends on the machine; that is what the benchmark is for.
        using var parsed = JsonDocument.Parse(run.Output);
        var report = parsed.RootElement;
        Assert.That(report.GetProperty("lost").GetString(), Does.StartWith("store-"));
        Assert.That(report.GetProperty("answered").GetInt32(), Is.EqualTo(30), run.Error);
        Assert.That(report.GetProperty("answers_wrong").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("failed").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("stuck").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("hit_rate_per_second").GetArrayLength(), Is.EqualTo(7));
    }
}
