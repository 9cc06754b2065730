using System.ComponentModel;
using System.Diagnostics;

namespace Kimi.Mooncake.Tests;

/// <summary>
/// A client in another language: a folder of <c>tests/clients</c>, copied to where it may install packages. What is
/// missing on the machine makes the test skipped.
/// </summary>
internal sealed class ClientProgram : IDisposable
{
    private static readonly TimeSpan CommandTime = TimeSpan.FromMinutes(2);

    private readonly TemporaryFolder _folder = new();

    public ClientProgram(string name)
    {
        for (var d = new DirectoryInfo(TestContext.CurrentContext.TestDirectory); d is not null; d = d.Parent)
        {
            var source = new DirectoryInfo(Path.Combine(d.FullName, "tests", "clients", name));
            if (source.Exists)
            {
                RepositoryRoot = d.FullName;
                foreach (var file in source.GetFiles())
                {
                    file.CopyTo(_folder.File(file.Name));
                }

                return;
            }
        }

        throw new DirectoryNotFoundException($"no tests/clients/{name} above the test's folder");
    }

    /// <summary>The checkout that the client comes from.</summary>
    public string RepositoryRoot { get; }

    /// <summary>Where the client lies now.</summary>
    public string Folder => _folder.Path;

    /// <summary>Installs what the client's package.json names.</summary>
    public async Task InstallNodePackagesAsync()
    {
        var (code, output) = await RunAsync("npm", "install", "--no-audit", "--no-fund", "--no-package-lock");
        if (code != 0)
        {
            Assert.Ignore($"skipped: the packages of the Node client could not be installed: {output}");
        }
    }

    /// <summary>Runs a command in the client's folder; the code is -1 when it took too long.</summary>
    public async Task<(int Code, string Output)> RunAsync(string command, params string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments)
        {
            WorkingDirectory = Folder,
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

    public void Dispose() => _folder.Dispose();

    /// <summary>Starts a program; skips the test where there is none of that name.</summary>
    public static Process StartOrIgnore(ProcessStartInfo start)
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
