using System.ComponentModel;
using System.Diagnostics;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>The official OpenAI client for Node against the gateway, where Node and the package are there.</summary>
internal sealed class NodeClientTests
{
    private static readonly TimeSpan CommandTime = TimeSpan.FromMinutes(2);

    private string _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("mooncake-node").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task NodeClient_WholeAndStreamed_GetsTextAndUsage()
    {
        var source = SourceFolder();
        foreach (var file in new[] { "package.json", "check.mjs" })
        {
            File.Copy(Path.Combine(source, file), Path.Combine(_folder, file));
        }

        var (failed, reason) = await RunAsync("npm", "install", "--no-audit", "--no-fund", "--no-package-lock");
        if (failed != 0)
        {
            Assert.Ignore($"skipped: the package openai could not be installed: {reason}");
        }

        await using var gateway = await RunningGateway.StartAsync(new ScriptedGenerator { CachedTokens = 6 });
        var (code, output) = await RunAsync(
            "node", "check.mjs", new Uri(gateway.Address, "/v1").ToString(), "test/kimi", "Hello, world", "6");

        Assert.That(code, Is.Zero, output);
    }

    private static string SourceFolder()
    {
        for (var d = new DirectoryInfo(TestContext.CurrentContext.TestDirectory); d is not null; d = d.Parent)
        {
            var folder = Path.Combine(d.FullName, "tests", "clients", "openai-node");
            if (Directory.Exists(folder))
            {
                return folder;
            }
        }

        throw new DirectoryNotFoundException("no tests/clients/openai-node above the test's folder");
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
