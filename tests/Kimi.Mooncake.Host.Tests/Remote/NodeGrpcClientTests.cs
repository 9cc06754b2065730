using System.ComponentModel;
using System.Diagnostics;
using Kimi.Mooncake.Gateway.Tests;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>The gRPC client for Node against a worker, where Node and its packages are there.</summary>
[TestFixture]
internal sealed class NodeGrpcClientTests
{
    private static readonly TimeSpan CommandTime = TimeSpan.FromMinutes(2);

    private string _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("mooncake-grpc-node").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task NodeClient_EveryMethod_AnswersAndCancels()
    {
        var root = Root();
        foreach (var file in new[] { "package.json", "check.mjs" })
        {
            File.Copy(Path.Combine(root, "tests", "clients", "grpc-node", file), Path.Combine(_folder, file));
        }

        var (failed, reason) = await RunAsync("npm", "install", "--no-audit", "--no-fund", "--no-package-lock");
        if (failed != 0)
        {
            Assert.Ignore($"skipped: @grpc/grpc-js could not be installed: {reason}");
        }

        var scripted = new ScriptedGenerator { HangAfterAnswer = true };
        scripted.Answer = request => request.PromptTokens[0] == 0
            ? ScriptedGenerator.Bytes("no end")
            : ScriptedGenerator.Bytes("Hello, world", end: true);
        await using var worker = await RunningWorker.StartAsync(scripted);
        var (code, output) = await RunAsync(
            "node", "check.mjs", worker.Address.Authority, Path.Combine(root, "proto"), "Hello, world");

        Assert.That(code, Is.Zero, output);

        // The client is gone before the worker hears of its cancellations.
        await worker.UntilAsync(_ => scripted.Cancelled == 2);
    }

    private static string Root()
    {
        for (var d = new DirectoryInfo(TestContext.CurrentContext.TestDirectory); d is not null; d = d.Parent)
        {
            if (Directory.Exists(Path.Combine(d.FullName, "tests", "clients", "grpc-node")))
            {
                return d.FullName;
            }
        }

        throw new DirectoryNotFoundException("no tests/clients/grpc-node above the test's folder");
    }

    private async Task<(int Code, string Output)> RunAsync(string command, params string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments)
        {
            WorkingDirectory = _folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = StartOrIgnore(start);
        using var limit = new CancellationTokenSource(CommandTime);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, await output + await errors);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            return (-1, $"{command} took longer than {CommandTime}");
        }
    }

    private static Process StartOrIgnore(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception exception)
        {
            Assert.Ignore($"skipped: {start.FileName} cannot be started: {exception.Message}");
            throw;
        }
    }
}
