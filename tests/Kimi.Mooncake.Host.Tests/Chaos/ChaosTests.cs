using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Host.Tests.Processes;

namespace Kimi.Mooncake.Host.Tests.Chaos;

/// <summary>A minute of faults; <c>mooncake chaos --minutes 5</c> is the long form.</summary>
[TestFixture]
[Category("Chaos")]
internal sealed class ChaosTests
{
    private const int Seed = 3;

    [Test]
    public async Task Chaos_OfAMinute_GivesNoWrongByteAndLeavesNothing()
    {
        var folder = Directory.CreateTempSubdirectory("mooncake-chaos").FullName;
        try
        {
            var run = await CommandRun.OfAsync(
                "chaos", "--seed", $"{Seed}", "--minutes", "1", "--config", ClusterConfigTests.ConfigFile("2p4d"),
                "--dir", folder, "--json");

            Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), $"seed {Seed}\n{run.Output}\n{run.Error}");
            using var parsed = JsonDocument.Parse(run.Output);
            var report = parsed.RootElement;
            Assert.That(report.GetProperty("schedule").GetArrayLength(), Is.GreaterThan(8));
            Assert.That(report.GetProperty("answers_right").GetInt32(), Is.GreaterThan(10), run.Output);
            Assert.That(report.GetProperty("answers_wrong").GetInt32(), Is.Zero);
            Assert.That(report.GetProperty("pools_empty").GetBoolean(), Is.True);
            Assert.That(report.GetProperty("works_afterwards").GetBoolean(), Is.True);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
