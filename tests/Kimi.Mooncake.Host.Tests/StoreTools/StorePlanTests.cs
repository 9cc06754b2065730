using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Host.Tests.StoreTools;

[TestFixture]
internal sealed class StorePlanTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Plan_SmallTrace_CountsPrefixesOnly()
    {
        // The last block is found, but not as part of a prefix; the second block of the third prompt is short.
        var trace = await WriteAsync(
            Line(0, 1024, 1, 2),
            Line(1, 1024, 1, 2),
            Line(2, 600, 1, 3),
            Line(3, 1024, 4, 2));

        var plan = await PlanAsync(trace, "--capacity", "100", "--policy", "lru");

        Assert.That(plan.GetProperty("requests").GetInt32(), Is.EqualTo(4));
        Assert.That(plan.GetProperty("blocks").GetInt32(), Is.EqualTo(8));
        Assert.That(plan.GetProperty("unique_blocks").GetInt32(), Is.EqualTo(4));
        var unlimited = plan.GetProperty("unlimited");
        Assert.That(unlimited.GetProperty("block_hit_percent").GetDouble(), Is.EqualTo(100 * 3 / 8.0).Within(1e-9));
        Assert.That(
            unlimited.GetProperty("token_hit_percent").GetDouble(),
            Is.EqualTo(100 * (3 * 512) / (3 * 1024 + 600.0)).Within(1e-9));
        Assert.That(Rate(plan, 100, "lru"), Is.EqualTo(37.5).Within(1e-9));
    }

    [Test]
    public async Task Plan_StoreTooSmall_LosesWhatWasNotUsedLately()
    {
        var trace = await WriteAsync(
            Line(0, 512, 1), Line(1, 512, 2), Line(2, 512, 1), Line(3, 512, 3), Line(4, 512, 1), Line(5, 512, 2));

        var plan = await PlanAsync(trace, "--capacity", "2", "3", "--policy", "lru");

        Assert.That(Rate(plan, 2, "lru"), Is.EqualTo(100 * 2 / 6.0).Within(1e-9));
        Assert.That(Rate(plan, 3, "lru"), Is.EqualTo(100 * 3 / 6.0).Within(1e-9));
    }

    [Test]
    public async Task Plan_WithoutJson_DrawsEachPolicyAndTheUnlimitedStore()
    {
        var trace = await WriteAsync(Line(0, 512, 1), Line(1, 512, 1));

        var run = await CommandRun.OfAsync("store", "plan", trace, "--capacity", "10", "--token-bytes", "1024");

        Assert.That(run.Code, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Contain("lru").And.Contain("lfu").And.Contain("cost").And.Contain("unlimited"));
        Assert.That(run.Output, Does.Contain("█ 50.00 %").And.Contain("5.0 MiB"));
    }

    [TestCase("{", "not JSON")]
    [TestCase("[]", "expected an object")]
    [TestCase("""{"input_length": 1, "output_length": 1, "hash_ids": [1]}""", "timestamp is missing")]
    [TestCase("""{"timestamp": 0, "input_length": -1, "output_length": 1, "hash_ids": [1]}""", "input_length is -1")]
    [TestCase("""{"timestamp": 0, "input_length": 1, "output_length": 1}""", "hash_ids is missing or no list")]
    [TestCase("""{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [1.5]}""", "hash_ids[0] is 1.5")]
    [TestCase("""{"timestamp": 0, "input_length": 900, "output_length": 1, "hash_ids": [1]}""", "900 makes 2 of 512")]
    public async Task Plan_BadLine_NamesFileAndLine(string line, string fault)
    {
        var trace = await WriteAsync(Line(0, 512, 1), line);

        var run = await CommandRun.OfAsync("store", "plan", trace);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.StartWith($"error: {trace}:2: ").And.Contain(fault));
    }

    [TestCase("--policy", "fifo")]
    [TestCase("--capacity", "0")]
    [TestCase("--block-tokens", "0")]
    public async Task Plan_BadOption_IsRefused(string option, string value)
    {
        var trace = await WriteAsync(Line(0, 512, 1));

        var run = await CommandRun.OfAsync("store", "plan", trace, option, value);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain($"{option} {value}: expected"));
    }

    [TestCase("conversation", 4.5, 13.6, 21.2, 32.6, 35.5, 36.4, 36.64)]
    [TestCase("synthetic", 8.4, 30.9, 42.4, 62.4, 64.0, 64.0, 63.96)]
    public async Task Plan_PublishedTrace_MatchesTheReferenceAndCostIsAsGood(
        string name, double at1k, double at5859, double at10k, double at30k, double at50k, double at100k, double ideal)
    {
        var trace = SharedData.PathOf("traces", $"{name}_trace.jsonl");

        var plan = await PlanAsync(trace, "--policy", "lru", "cost");

        int[] capacities = [1_000, 5_859, 10_000, 30_000, 50_000, 100_000];
        double[] reference = [at1k, at5859, at10k, at30k, at50k, at100k];
        var lru = capacities.Select(capacity => Rate(plan, capacity, "lru")).ToArray();
        var cost = capacities.Select(capacity => Rate(plan, capacity, "cost")).ToArray();
        Assert.That(
            plan.GetProperty("unlimited").GetProperty("block_hit_percent").GetDouble(), Is.EqualTo(ideal).Within(0.01));
        for (var i = 0; i < capacities.Length; i++)
        {
            Assert.That(lru[i], Is.EqualTo(reference[i]).Within(0.5), $"{capacities[i]} blocks");
            Assert.That(cost[i], Is.GreaterThanOrEqualTo(lru[i]), $"{capacities[i]} blocks");
        }
    }

    private static string Line(int timestamp, int tokens, params int[] blocks) => JsonSerializer.Serialize(
        new { timestamp, input_length = tokens, output_length = 5, hash_ids = blocks });

    private static double Rate(JsonElement plan, int capacity, string policy) =>
        plan.GetProperty("rates").EnumerateArray()
            .Single(rate => rate.GetProperty("capacity_blocks").GetInt32() == capacity &&
                rate.GetProperty("policy").GetString() == policy)
            .GetProperty("block_hit_percent").GetDouble();

    private static async Task<JsonElement> PlanAsync(string trace, params string[] arguments)
    {
        var run = await CommandRun.OfAsync(["store", "plan", trace, "--json", .. arguments]);
        Assert.That(run.Code, Is.Zero, run.Error);
        using var document = JsonDocument.Parse(run.Output);
        return document.RootElement.Clone();
    }

    private async Task<string> WriteAsync(params string[] lines)
    {
        var path = Path.Combine(_folder.Path, "trace.jsonl");
        await File.WriteAllLinesAsync(path, lines);
        return path;
    }
}
