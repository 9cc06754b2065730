using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Host.Tests.Commands;

[TestFixture]
internal sealed class ModelCommandTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() =>
        _folder = Directory.CreateDirectory(
            Path.Combine(TestContext.CurrentContext.WorkDirectory, Guid.NewGuid().ToString("N"))).FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase("f16", 18_000_000, "F16")]
    [TestCase("f32", 37_000_000, "F32")]
    public async Task Build_ThenInfo_DescribesWhatWasBuilt(string type, long bytesMin, string encoding)
    {
        var path = Path.Combine(_folder, "deeper", "model.gguf");

        var first = await CommandRun.OfAsync("model", "build", "--output", path, "--type", type, "--json");
        var second = await CommandRun.OfAsync("model", "build", "--output", path, "--type", type, "--json");
        var info = await CommandRun.OfAsync("model", "info", path, "--tensors", "--json");

        Assert.That((first.Code, second.Code, info.Code), Is.EqualTo((0, 0, 0)), first.Error + info.Error);
        using var built = JsonDocument.Parse(first.Output);
        using var again = JsonDocument.Parse(second.Output);
        using var found = JsonDocument.Parse(info.Output);
        var root = found.RootElement;
        Assert.That(built.RootElement.GetProperty("sha256").GetString(), Has.Length.EqualTo(64));
        Assert.That(
            again.RootElement.GetProperty("sha256").GetString(),
            Is.EqualTo(built.RootElement.GetProperty("sha256").GetString()));
        Assert.That(built.RootElement.GetProperty("file_bytes").GetInt64(), Is.EqualTo(new FileInfo(path).Length));
        Assert.That(new FileInfo(path).Length, Is.GreaterThan(bytesMin));
        Assert.That(root.GetProperty("parameters").GetInt64(), Is.EqualTo(9_292_240));
        Assert.That(root.GetProperty("context_length_tokens").GetInt32(), Is.EqualTo(262_144));
        Assert.That(root.GetProperty("kv_bytes_per_token").GetInt32(), Is.EqualTo(3 * 192 * 4));
        Assert.That(
            root.GetProperty("tensor_bytes_by_type").GetProperty(encoding).GetInt64(), Is.GreaterThan(bytesMin));
        Assert.That(
            root.GetProperty("tensors").GetArrayLength(), Is.EqualTo(root.GetProperty("tensor_count").GetInt32()));
    }

    [TestCase("f32", "f32", 4)]
    [TestCase("q8_0", "bf16", 2)]
    public async Task Info_KvCache_IsOfTheTypeThatAWorkerTakes(string type, string kvType, int bytes)
    {
        var path = Path.Combine(_folder, "tiny.gguf");
        var made = await CommandRun.OfAsync(
            "model", "synth", path, "--type", type, "--layers", "2", "--hidden", "64", "--heads", "2", "--q-lora", "32",
            "--kv-lora", "32", "--nope", "32", "--rope", "8", "--value", "16", "--intermediate", "64",
            "--moe-intermediate", "32", "--experts", "4", "--top", "2", "--shared", "1", "--dense-layers", "1",
            "--vocab", "300", "--yarn-factor", "4");

        var info = await CommandRun.OfAsync("model", "info", path, "--json");

        Assert.That((made.Code, info.Code), Is.EqualTo((0, 0)), made.Error + info.Error);
        using var found = JsonDocument.Parse(info.Output);
        Assert.That(found.RootElement.GetProperty("kv_type").GetString(), Is.EqualTo(kvType));
        Assert.That(
            found.RootElement.GetProperty("kv_bytes_per_token").GetInt32(), Is.EqualTo(2 * (32 + 8) * bytes));
    }

    [Test]
    public async Task Info_NoModel_NamesThePlace()
    {
        var path = Path.Combine(_folder, "no-model");
        await File.WriteAllTextAsync(path, "This is no model, although it is long enough to be read as a header.");

        var run = await CommandRun.OfAsync("model", "info", path, "--json");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Output, Is.Empty);
        Assert.That(run.Error.TrimEnd(), Does.StartWith($"error: {path}: byte 0").And.Not.Contain("\n"));
    }

    [Test]
    public async Task Build_OverAFolder_IsRefused()
    {
        var run = await CommandRun.OfAsync("model", "build", "--output", _folder);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("is a folder"));
    }

    [Test]
    public async Task Info_OfAFolder_SaysSo()
    {
        var run = await CommandRun.OfAsync("model", "info", _folder);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Contain("is a folder; expected a GGUF file"));
    }

    [TestCase("worker.block_tokens=48", ExitCode.Usage, "worker.block_tokens is 48; expected a power of two")]
    [TestCase("gateway.address=192.0.2.1", ExitCode.Failed, "cannot listen on 192.0.2.1 port")]
    public async Task Serve_SettingThatDoesNotFit_IsOneLine(string setting, int code, string message)
    {
        var path = Path.Combine(_folder, "model.gguf");
        await CommandRun.OfAsync("model", "build", "--output", path);

        var run = await CommandRun.OfAsync("serve", "--model", path, "--port", "0", "--set", setting);

        Assert.That(run.Code, Is.EqualTo(code));
        Assert.That(run.Error, Does.Contain(message).And.Not.Contain("Parameter").And.Not.Contain("   at "));
    }

    [Test]
    public async Task ServeAndLogits_InstructionsThatAreNotThere_AreOneLine()
    {
        if (InstructionPaths.IsSupported(InstructionPath.Amx))
        {
            Assert.Ignore("skipped: this machine has AMX");
        }

        var path = Path.Combine(_folder, "model.gguf");
        var tokens = Path.Combine(_folder, "tokens");
        await CommandRun.OfAsync("model", "build", "--output", path);
        await File.WriteAllTextAsync(tokens, "1 2 3");

        var served = await CommandRun.OfAsync(
            "serve", "--model", path, "--port", "0", "--set", "worker.instructions=amx");
        var computed = await CommandRun.OfAsync(
            "model", "logits", path, "--instructions", "amx", "--tokens", tokens, "--out",
            Path.Combine(_folder, "logits"));

        var message = $"instruction path Amx: this machine has {InstructionPaths.Best} at best\n";
        Assert.That(served.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(served.Error, Does.EndWith("error: worker.instructions: " + message));
        Assert.That(computed.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(computed.Error, Does.EndWith("error: " + message));
    }
}
