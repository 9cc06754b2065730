using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Bench;

/// <summary>Workers that come and go under load, in real processes.</summary>
[TestFixture]
internal sealed class ScaleBenchTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("mooncake-scale").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task BenchScale_SmallCluster_LosesNoRequest()
    {
        var config = Path.Combine(_folder, "2p1d.json");
        await File.WriteAllTextAsync(config, """
            {
              "settings": { "logging.level": "warning", "worker.threads": 1, "worker.kv_pool_bytes": "64MiB" },
              "processes": [
                { "name": "gateway", "role": "gateway" },
                { "name": "prefill", "role": "prefill", "count": 2 },
                { "name": "decode", "role": "decode" }
              ]
            }
            """);

        var run = await CommandRun.OfAsync(
            "bench", "scale", "--config", config, "--dir", Path.Combine(_folder, "run"), "--conversations", "8",
            "--turns", "9", "--documents", "2", "--document-tokens", "1600", "--json");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error + run.Output);
        using var parsed = JsonDocument.Parse(run.Output);
        var report = parsed.RootElement;
        Assert.That(report.GetProperty("serve").GetProperty("answers_right").GetInt32(), Is.EqualTo(72));
        Assert.That(report.GetProperty("drained").GetString(), Is.EqualTo("prefill-2"));
        Assert.That(report.GetProperty("tokens_of_added").GetInt64(), Is.Positive);
    }
}
