using System.Text.Json;
using System.Xml.Linq;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Tests.Commands;

/// <summary><c>bench model</c> and <c>bench kernels</c>.</summary>
[TestFixture]
internal sealed class BenchModelCommandTests
{
    private static readonly string[] Quick = ["--runs", "1", "--threads", "1", "--decode-tokens", "2"];

    private string _folder = "";
    private string _model = "";

    [OneTimeSetUp]
    public async Task MakeModelAsync()
    {
        _folder = Directory.CreateTempSubdirectory("mooncake-tests-").FullName;
        _model = PathOf("m.gguf");
        var made = await CommandRun.OfAsync(
            "model", "synth", _model, "--type", "q8_0", "--layers", "2", "--hidden", "64", "--heads", "2", "--q-lora",
            "32", "--kv-lora", "32", "--nope", "32", "--rope", "8", "--value", "16", "--intermediate", "64",
            "--moe-intermediate", "32", "--experts", "4", "--top", "2", "--shared", "1", "--dense-layers", "1",
            "--vocab", "300", "--yarn-factor", "4");
        Assert.That(made.Code, Is.Zero, made.Error);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Model_Json_HasEveryFigureAndTheLimitsBesideThem()
    {
        var run = await CommandRun.OfAsync([
            "bench", "model", _model, "--prefill", "64", "--chunk", "16", "--decode-depths", "0,20", "--sequences",
            "1,2", "--arithmetic", "exact", "--instructions", "portable", "--kv-type", "q8", "--json", .. Quick]);

        Assert.That(run.Code, Is.Zero, run.Error);
        using var json = JsonDocument.Parse(run.Output);
        var root = json.RootElement;
        Assert.That(root.GetProperty("arithmetic").GetString(), Is.EqualTo("exact"));
        Assert.That(root.GetProperty("instructions").GetString(), Is.EqualTo("portable"));
        Assert.That(root.GetProperty("kv_type").GetString(), Is.EqualTo("q8"));
        Assert.That(root.GetProperty("mapped_bytes").GetInt64(), Is.EqualTo(new FileInfo(_model).Length));
        Assert.That(root.GetProperty("limits").GetProperty("fp32_gflops").GetDouble(), Is.Positive);
        Assert.That(root.GetProperty("limits").GetProperty("read_gb_per_s").GetDouble(), Is.Positive);
        Assert.That(root.GetProperty("processor_features").GetArrayLength(), Is.Positive);
        var result = root.GetProperty("result");
        Assert.That(result.GetProperty("first_token_s").GetProperty("median").GetDouble(), Is.Positive);
        var prefill = result.GetProperty("prefill");
        Assert.That(prefill.GetArrayLength(), Is.EqualTo(2));
        Assert.That(prefill[0].GetProperty("tokens_per_s").GetProperty("median").GetDouble(), Is.Positive);
        Assert.That(prefill[0].GetProperty("chunks").GetArrayLength(), Is.EqualTo(4));
        var decode = result.GetProperty("decode");
        Assert.That(decode.GetArrayLength(), Is.EqualTo(4));
        Assert.That(decode[3].GetProperty("depth").GetInt32(), Is.EqualTo(20));
        Assert.That(
            decode[3].GetProperty("kv_bytes_per_step").GetInt64(),
            Is.EqualTo((long)(2 * 21.5 * result.GetProperty("kv_bytes_per_token").GetInt64())));
        Assert.That(root.GetProperty("prefill_curve").GetProperty("points").GetArrayLength(), Is.EqualTo(4));
        Assert.That(run.Error, Does.Contain("prefill of 64 tokens, 2 sequences, run 1 of 1"));
    }

    [Test]
    public async Task Model_Table_ShowsWhatWasAskedForOnly()
    {
        var run = await CommandRun.OfAsync([
            "bench", "model", _model, "--prefill", "16", "--decode-depths", "none", "--sequences", "1", .. Quick]);

        Assert.That(run.Code, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Contain("GFLOP/s fp32").And.Contains("first token of 32").And.Contains("prefill"));
        Assert.That(run.Output, Does.Not.Contain("decode at").And.Not.Contains("R²"));
    }

    [Test]
    public async Task Model_Report_IsAPageOrADrawingWithAPointForEachPass()
    {
        foreach (var name in new[] { "r.html", "r.svg" })
        {
            var run = await CommandRun.OfAsync([
                "bench", "model", _model, "--prefill", "80", "--chunk", "16", "--decode-depths", "none", "--sequences",
                "1", "--report", PathOf(name), .. Quick]);

            Assert.That(run.Code, Is.Zero, run.Error);
            Assert.That(run.Output, Does.Contain("R²"));
            var page = XDocument.Load(PathOf(name));
            XNamespace svg = "http://www.w3.org/2000/svg";
            var drawing = page.Root!.DescendantsAndSelf(svg + "svg").Single();
            Assert.That(drawing.Elements(svg + "circle").Count(), Is.EqualTo(5), name);
            Assert.That(
                drawing.Elements(svg + "text").Select(text => text.Value),
                Has.Some.EqualTo("time per token (µs)").And.Some.EqualTo("position in the prompt (tokens)"));
            Assert.That(page.Descendants("tr").Count(), Is.EqualTo(name == "r.html" ? 6 : 0));
        }
    }

    [TestCase("--prefill 8,x", "--prefill 8,x: expected numbers from 1 to")]
    [TestCase("--prefill 0", "--prefill 0: expected numbers from 1 to")]
    [TestCase("--decode-depths -1", "--decode-depths -1: expected numbers from 0 to")]
    [TestCase("--sequences 65", "--sequences 65: expected numbers from 1 to 64")]
    [TestCase("--runs 0", "--runs 0: expected 1 to 1000")]
    [TestCase("--prefill 20000", "a sequence of 20000 tokens is asked for; the model has 16384 positions")]
    [TestCase("--kv-type f16", "'f16' not recognized")]
    [TestCase("--report x.pdf", "expected a name that ends in .html or .svg")]
    [TestCase("--report /nowhere/x.svg", "there is no such folder")]
    public async Task Model_BadOption_IsAUsageError(string option, string message)
    {
        var run = await CommandRun.OfAsync(["bench", "model", _model, .. option.Split(' ')]);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain(message));
        Assert.That(run.Output, Is.Empty);
    }

    [Test]
    public async Task Model_ReportOfTooShortAPrefill_SaysWhatToAskFor()
    {
        var run = await CommandRun.OfAsync([
            "bench", "model", _model, "--prefill", "20", "--chunk", "16", "--decode-depths", "none", "--sequences", "1",
            "--report", PathOf("short.svg"), .. Quick]);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("--report: the longest prefill of one sequence takes 2 passes"));
        Assert.That(File.Exists(PathOf("short.svg")), Is.False);
    }

    [Test]
    public async Task Kernels_Filtered_MeasuresThoseBesideTheirRooflines()
    {
        var run = await CommandRun.OfAsync(
            "bench", "kernels", "--threads", "1", "--filter", "Q8_0, 1 x 2048 x 1536", "--json");

        Assert.That(run.Code, Is.Zero, run.Error);
        using var json = JsonDocument.Parse(run.Output);
        var found = json.RootElement.GetProperty("measurements");
        Assert.That(found.GetArrayLength(), Is.EqualTo(1));
        Assert.That(found[0].GetProperty("bound").GetString(), Is.EqualTo("memory"));
        Assert.That(found[0].GetProperty("share_of_roofline").GetDouble(), Is.Positive);
        Assert.That(json.RootElement.GetProperty("peaks").GetArrayLength(), Is.Zero);
    }

    [Test]
    public async Task Kernels_FilterThatMatchesNothing_IsAUsageError()
    {
        var run = await CommandRun.OfAsync("bench", "kernels", "--filter", "no such kernel");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("--filter no such kernel: no kernel has this in its name"));
    }

    private string PathOf(string name) => Path.Combine(_folder, name);
}
