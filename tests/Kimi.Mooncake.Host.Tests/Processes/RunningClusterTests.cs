using System.Text.Json;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Host.Tests.Processes;

/// <summary>Starting, watching and ending processes, with one process that is everything.</summary>
[TestFixture]
internal sealed class RunningClusterTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private string _folder = "";
    private string _model = "";

    [OneTimeSetUp]
    public void WriteModel()
    {
        _folder = Directory.CreateTempSubdirectory("mooncake-cluster").FullName;
        _model = Path.Combine(_folder, "model.gguf");
        NeedleModel.Write(_model);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Process_KilledAndStartedAgain_AnswersAtTheSameAddress()
    {
        await using var cluster = await StartAsync(Config("store.directory={dir}/store"), "again");
        var process = cluster.Processes.Single();
        var first = process.ProcessId;
        using var client = new CompletionClient(cluster.Gateway);

        await process.KillAsync();
        var wasThere = await client.IsThereAsync(Patience, CancellationToken.None);
        process.Start();
        await cluster.WaitUntilReadyAsync([process], CancellationToken.None);
        var isThere = await client.IsThereAsync(Patience, CancellationToken.None);
        var late = await cluster.StopAsync();

        Assert.That((wasThere, isThere), Is.EqualTo((false, true)));
        Assert.That(process.ProcessId, Is.Not.EqualTo(first));
        Assert.That(Directory.Exists(Path.Combine(_folder, "again", "all", "store")), Is.True);
        Assert.That(late, Is.Empty, process.Tail());
        Assert.That(await File.ReadAllTextAsync(process.Log), Does.Contain("is served at").And.Contain("stopping"));
    }

    [Test]
    public async Task Start_ProcessThatCannot_SaysWhyWithItsLog()
    {
        var fault = await Assert.ThrowsAsync<CommandException>(
            () => StartAsync(Config("worker.kernels=abacus"), "bad"));

        Assert.That(fault!.Message, Does.Contain("all ended with exit code 2").And.Contain("abacus"));
    }

    [Test]
    public async Task ClusterRun_ProcessKilledThenInterrupted_ReportsItAndEndsTheRest()
    {
        // Arrange
        using var interrupt = new CancellationTokenSource(Patience);
        var output = new SignallingWriter();
        var error = new SignallingWriter();
        var terminal = new Terminal(output, error, isInteractive: false);
        var file = Path.Combine(_folder, "two.json");
        await File.WriteAllTextAsync(file, """{ "processes": [{ "name": "all", "role": "all" }] }""");

        // Act
        var running = MooncakeCommand.RunAsync(
            ["cluster", "run", file, "--model", _model, "--dir", Path.Combine(_folder, "run"), "--json"], terminal,
            interrupt.Token);
        await output.Until("}\n").WaitAsync(Patience);
        using var told = JsonDocument.Parse(output.ToString());
        var id = told.RootElement.GetProperty("processes")[0].GetProperty("process_id").GetInt32();
        using (var process = System.Diagnostics.Process.GetProcessById(id))
        {
            process.Kill();
        }

        var code = await running.WaitAsync(Patience);

        // Assert
        Assert.That(code, Is.EqualTo(ExitCode.Failed));
        Assert.That(error.ToString(), Does.Contain($"all (pid {id}) ended with exit code 137"));
    }

    private static ClusterConfig Config(string setting)
    {
        var given = SettingSources.FromArguments([setting, "logging.level=warning"]).ToList();
        return new ClusterConfig("test", [new ProcessConfig("all", ServeRoles.All, 0, given)]);
    }

    private Task<RunningCluster> StartAsync(ClusterConfig config, string folder) => RunningCluster.StartAsync(
        config, new ClusterPlace { Folder = Path.Combine(_folder, folder), Model = _model }, CancellationToken.None);

    /// <summary>Text that others wait for.</summary>
    private sealed class SignallingWriter : StringWriter
    {
        private readonly TaskCompletionSource _seen = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private string? _wanted;

        public Task Until(string text)
        {
            lock (this)
            {
                _wanted = text;
                Look();
            }

            return _seen.Task;
        }

        public override void Flush()
        {
            lock (this)
            {
                Look();
            }
        }

        private void Look()
        {
            if (_wanted is { } text && ToString().Contains(text, StringComparison.Ordinal))
            {
                _seen.TrySetResult();
            }
        }
    }
}
