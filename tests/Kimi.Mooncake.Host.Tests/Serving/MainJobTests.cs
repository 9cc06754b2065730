using System.Text.Json;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>The main job through the command line: real model, real store, real processes, small documents.</summary>
[TestFixture]
internal sealed class MainJobTests
{
    private const int DocumentTokens = 4096;

    private string _folder = "";

    [SetUp]
    public void CreateFolder() =>
        _folder = Directory.CreateDirectory(
            Path.Combine(TestContext.CurrentContext.WorkDirectory, Guid.NewGuid().ToString("N"))).FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task AskEmbedded_SecondQuestionOnTheSameStore_ComesFromTheCache()
    {
        // Arrange
        var document = NeedleDocument.Create(DocumentTokens, 6, seed: 21);
        var model = Path.Combine(_folder, "model.gguf");
        var file = Path.Combine(_folder, "document.txt");
        await File.WriteAllTextAsync(file, document.Text);
        await CommandRun.OfAsync("model", "build", "--output", model);

        // Act
        var cold = await AskAsync(document.Facts[1]);
        var warm = await AskAsync(document.Facts[4]);

        // Assert
        Assert.That(cold.GetProperty("completion").GetString(), Is.EqualTo(document.Facts[1].Answer));
        Assert.That(warm.GetProperty("completion").GetString(), Is.EqualTo(document.Facts[4].Answer));
        Assert.That(cold.GetProperty("cached_tokens").GetInt32(), Is.Zero);
        Assert.That(warm.GetProperty("cached_tokens").GetInt32(), Is.GreaterThanOrEqualTo(DocumentTokens / 64 * 64));

        async Task<JsonElement> AskAsync(NeedleFact fact)
        {
            var run = await CommandRun.OfAsync(
                "ask", file, fact.Question, "--model", model, "--store-dir", Path.Combine(_folder, "store"), "--json");
            Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error);
            return JsonDocument.Parse(run.Output).RootElement;
        }
    }

    [Test]
    public async Task BenchLongDocument_SmallDocument_HitsWarmAndAfterKill()
    {
        var run = await CommandRun.OfAsync(
            "bench", "longdoc", "--tokens", $"{DocumentTokens}", "--set", "store.flush_interval_ms=1", "--json");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error);
        using var parsed = JsonDocument.Parse(run.Output);
        var report = parsed.RootElement;
        var requests = report.GetProperty("requests").EnumerateArray().ToList();
        Assert.That(report.GetProperty("answers_right").GetInt32(), Is.EqualTo(3), run.Output);
        Assert.That(report.GetProperty("restart").GetProperty("is_right").GetBoolean(), Is.True, run.Output);
        Assert.That(report.GetProperty("warm_hits_complete").GetBoolean(), Is.True, run.Output);

        // How much a kill loses depends on how far the disk was: so small a document is not old when it comes.
        Assert.That(report.GetProperty("restart_cached_share").GetDouble(), Is.GreaterThan(0), run.Output);
        Assert.That(
            report.GetProperty("shared_prefix_block_tokens").GetInt32(),
            Is.InRange(DocumentTokens, DocumentTokens + 64));
        Assert.That(
            requests.Select(request => request.GetProperty("name").GetString()),
            Is.EqualTo(new[] { "cold", "warm", "warm" }));
        Assert.That(requests[0].GetProperty("cached_tokens").GetInt32(), Is.Zero);
        Assert.That(report.GetProperty("warm_over_cold").GetDouble(), Is.Positive);
        if (OperatingSystem.IsLinux())
        {
            Assert.That(report.GetProperty("peak_rss_bytes").GetInt64(), Is.GreaterThan(10_000_000));
        }
    }

    [Test]
    public async Task Serve_UnusableModelOrStore_SaysWhyAndEnds()
    {
        var model = Path.Combine(_folder, "model.gguf");
        var occupied = Path.Combine(_folder, "occupied");
        await CommandRun.OfAsync("model", "build", "--output", model);
        await File.WriteAllTextAsync(occupied, "a file where a folder should be");

        var noModel = await CommandRun.OfAsync("serve", "--model", occupied, "--port", "0");
        var noStore = await CommandRun.OfAsync("serve", "--model", model, "--port", "0", "--store-dir", occupied);
        var noBlock = await CommandRun.OfAsync(
            "serve", "--model", model, "--port", "0", "--set", "worker.block_tokens=48");

        Assert.That(noModel.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(noModel.Error, Does.Contain(occupied));
        Assert.That(noStore.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(noStore.Error, Does.Contain(occupied));
        Assert.That(noBlock.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(noBlock.Error, Does.Contain("worker.block_tokens is 48"));
    }
}
