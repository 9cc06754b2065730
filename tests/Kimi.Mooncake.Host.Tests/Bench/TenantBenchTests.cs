using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Bench;

/// <summary>Two tenants with keys and quotas of a real server, small.</summary>
[TestFixture]
internal sealed class TenantBenchTests
{
    [Test]
    public async Task BenchTenants_OneWritesTenTimesItsQuota_TheOtherLosesNothing()
    {
        var run = await CommandRun.OfAsync(
            "bench", "tenants", "--documents", "2", "--document-tokens", "1024", "--json");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error + run.Output);
        using var parsed = JsonDocument.Parse(run.Output);
        var report = parsed.RootElement;
        Assert.That(report.GetProperty("flood_over_quota").GetDouble(), Is.GreaterThanOrEqualTo(10));
        Assert.That(report.GetProperty("hit_rate_before").GetDouble(), Is.EqualTo(1));
        Assert.That(report.GetProperty("points_lost").GetDouble(), Is.LessThanOrEqualTo(2));
        var isolation = report.GetProperty("isolation");
        Assert.That(isolation.GetProperty("cached_tokens").GetInt32(), Is.Zero);
        Assert.That(
            isolation.GetProperty("prefill_tokens_computed").GetInt64(),
            Is.EqualTo(isolation.GetProperty("prompt_tokens").GetInt64()));
        Assert.That(isolation.GetProperty("shared_namespace_cached_tokens").GetInt32(), Is.GreaterThan(1000));
        Assert.That(
            report.GetProperty("savings").EnumerateArray().Select(savings => savings.GetProperty("tenant").GetString()),
            Is.EqualTo(["first", "second"]));
    }

    [Test]
    public async Task BenchTenants_ImpossibleNumber_IsAUsageError()
    {
        var run = await CommandRun.OfAsync("bench", "tenants", "--times", "0");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("--times 0: expected 1 to 1000"));
    }
}
