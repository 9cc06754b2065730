using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// A <c>mooncake serve</c> of its own in another process, on a free loopback port. Whoever started it ends it; it never
/// outlives its owner's <see cref="DisposeAsync"/>.
/// </summary>
internal sealed class ChildServer : IAsyncDisposable
{
    private const int LogLinesMax = 100;
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan PollPatience = TimeSpan.FromSeconds(5);

    private readonly Process _process;
    private readonly Queue<string> _log = new();

    private ChildServer(Process process, CompletionClient client)
    {
        _process = process;
        Client = client;
        process.ErrorDataReceived += Keep;
        process.OutputDataReceived += Keep;
    }

    public CompletionClient Client { get; }

    public int ProcessId => _process.Id;

    /// <summary>Starts a server and waits until it answers.</summary>
    /// <param name="arguments">What <c>serve</c> gets besides the port.</param>
    /// <param name="cancellationToken">Gives up and ends the child.</param>
    /// <exception cref="CommandException">It ended, or did not answer in time.</exception>
    public static async Task<ChildServer> StartAsync(IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var port = FreePort();
        var start = OwnExecutable.StartInfo(
            ["serve", "--port", port.ToString(CultureInfo.InvariantCulture), .. arguments]);
        var process = Process.Start(start)
            ?? throw new CommandException("the server could not be started");
        var server = new ChildServer(process, new CompletionClient(new Uri($"http://127.0.0.1:{port}")));
        try
        {
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
            await server.WaitUntilReadyAsync(cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Most memory that the process has had in use so far; 0 where the system does not say.</summary>
    public long PeakResidentBytes() => ReadPeakResidentBytes($"/proc/{_process.Id}/status");

    /// <summary>Ends the process as <c>kill -9</c> does: it learns nothing of it.</summary>
    public async Task KillAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync().ConfigureAwait(false);
        _process.Dispose();
        Client.Dispose();
    }

    internal static long ReadPeakResidentBytes(string statusFile)
    {
        const string Field = "VmHWM:";
        if (!File.Exists(statusFile))
        {
            return 0;
        }

        var line = File.ReadLines(statusFile).FirstOrDefault(line => line.StartsWith(Field, StringComparison.Ordinal));
        var kibibytes = line?[Field.Length..].Replace("kB", "", StringComparison.Ordinal).Trim();
        return kibibytes is null ? 0 : long.Parse(kibibytes, CultureInfo.InvariantCulture) * 1024;
    }

    private async Task WaitUntilReadyAsync(CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        while (!await Client.IsThereAsync(PollPatience, cancellationToken).ConfigureAwait(false))
        {
            if (_process.HasExited)
            {
                throw new CommandException($"the server ended with exit code {_process.ExitCode}:\n{Log()}");
            }

            if (Stopwatch.GetElapsedTime(start) > StartTimeMax)
            {
                throw new CommandException($"the server did not answer within {StartTimeMax.TotalSeconds} s:\n{Log()}");
            }

            await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is null)
        {
            return;
        }

        lock (_log)
        {
            _log.Enqueue(line.Data);
            if (_log.Count > LogLinesMax)
            {
                _log.Dequeue();
            }
        }
    }

    private string Log()
    {
        lock (_log)
        {
            return string.Join('\n', _log);
        }
    }
}
