using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.StoreTools;

[TestFixture]
internal sealed class StoreBenchTests
{
    [Test]
    public async Task Bench_Small_PrintsEveryFigure()
    {
        var run = await CommandRun.OfAsync(
            "store", "bench", "--size-mib", "8", "--rounds", "2", "--layers", "2", "--objects", "20000",
            "--lookup-seconds", "1", "--json");

        Assert.That(run.Code, Is.Zero, run.Error);
        using var document = JsonDocument.Parse(run.Output);
        var report = document.RootElement;
        Assert.That(report.GetProperty("block_bytes").GetInt32(), Is.EqualTo(2 * 576 * 4 * 64));
        var rows = report.GetProperty("rows").EnumerateArray().ToList();
        Assert.That(rows, Has.Count.EqualTo(12));
        Assert.That(rows.Select(row => row.GetProperty("median").GetDouble()), Is.All.GreaterThan(0));
        var ratios = report.GetProperty("ratios").EnumerateArray()
            .Select(ratio => ratio.GetProperty("name").GetString());
        Assert.That(
            ratios,
            Is.EqualTo(new[]
            {
                "get from memory / memcpy", "put / plain file write",
                "get from disk, cold / plain file read, cold",
            }));
        Assert.That(report.GetProperty("metadata_bytes_per_object").GetDouble(), Is.InRange(50, 250));
        Assert.That(report.GetProperty("compressed_share").GetDouble(), Is.InRange(0.3, 1.0));
    }

    [TestCase("--block-tokens", "48")]
    [TestCase("--size-mib", "0")]
    [TestCase("--rounds", "0")]
    public async Task Bench_BadOption_IsRefused(string option, string value)
    {
        var run = await CommandRun.OfAsync("store", "bench", option, value);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain($"{option} {value}: expected"));
    }
}
