using System.ComponentModel;
using System.Diagnostics;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>
/// One process of a cluster, which may be ended and started again. It writes to a log file of its own, and stops when
/// its standard input ends, so that it does not outlive this process.
/// </summary>
internal sealed class ClusterProcess(
    ProcessConfig config, ProcessPorts ports, string log, IReadOnlyList<string> arguments) : IAsyncDisposable
{
    private const int TailLinesMax = 40;

    private readonly Lock _writing = new();
    private Process? _process;
    private StreamWriter? _writer;
    private TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ProcessConfig Config { get; } = config;

    /// <summary>File with everything that the process wrote.</summary>
    public string Log { get; } = log;

    /// <summary>gRPC; of a process of one's own role <c>all</c> nothing listens there.</summary>
    public Uri Rpc { get; } = Loopback(config.IsGateway ? ports.Other : ports.Main);

    /// <summary>HTTP: the API of a gateway, and everybody's health and metrics.</summary>
    public Uri Http { get; } = Loopback(config.IsGateway ? ports.Main : ports.Other);

    /// <summary>A command that the next start runs the process with; empty for none.</summary>
    public IReadOnlyList<string> Before { get; set; } = [];

    /// <summary>Id of the process, also of one that has ended.</summary>
    public int ProcessId { get; private set; }

    /// <summary>Completes with the exit code when the process ends, by whatever cause.</summary>
    public Task<int> Exited => _exited.Task;

    /// <summary>Starts it, the first time or again.</summary>
    /// <exception cref="CommandException">It cannot be started.</exception>
    public void Start()
    {
        Forget();
        var stream = new FileStream(Log, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        _writer = new StreamWriter(stream) { AutoFlush = true };
        _exited = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            _process = Process.Start(OwnExecutable.StartInfo(arguments, Before))
                ?? throw new CommandException($"{Config.Name} could not be started");
        }
        catch (Win32Exception fault)
        {
            throw new CommandException($"{Config.Name} could not be started: {fault.Message}");
        }

        ProcessId = _process.Id;
        _process.OutputDataReceived += Keep;
        _process.ErrorDataReceived += Keep;
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        _ = WatchAsync(_process, _exited);
    }

    /// <summary>Asks it to stop, and ends it when it has not after a while.</summary>
    /// <returns>Whether it stopped by itself, with exit code 0.</returns>
    public async Task<bool> StopAsync(TimeSpan patience)
    {
        if (_process is null)
        {
            return true;
        }

        if (!Exited.IsCompleted)
        {
            try
            {
                _process.StandardInput.Close();
            }
            catch (IOException fault)
            {
                Write($"its standard input is gone already: {fault.Message}");
            }

            await Task.WhenAny(Exited, Task.Delay(patience)).ConfigureAwait(false);
        }

        if (Exited.IsCompleted)
        {
            return await Exited.ConfigureAwait(false) == 0;
        }

        await KillAsync().ConfigureAwait(false);
        return false;
    }

    /// <summary>Ends it as <c>kill -9</c> does: it learns nothing of it.</summary>
    public async Task KillAsync()
    {
        if (_process is null)
        {
            return;
        }

        if (!Exited.IsCompleted)
        {
            _process.Kill();
        }

        await Exited.ConfigureAwait(false);
    }

    /// <summary>Lets it stand still.</summary>
    public void Suspend() => UnixSignal.Suspend(ProcessId);

    /// <summary>Lets it go on.</summary>
    public void Resume() => UnixSignal.Resume(ProcessId);

    /// <summary>The last lines of its log.</summary>
    public string Tail()
    {
        using var stream = new FileStream(Log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream);
        var lines = new Queue<string>();
        while (reader.ReadLine() is { } line)
        {
            lines.Enqueue(line);
            if (lines.Count > TailLinesMax)
            {
                lines.Dequeue();
            }
        }

        return string.Join('\n', lines);
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync().ConfigureAwait(false);
        Forget();
    }

    private static Uri Loopback(int port) => new($"http://127.0.0.1:{port}");

    private static async Task WatchAsync(Process process, TaskCompletionSource<int> exited)
    {
        await process.WaitForExitAsync().ConfigureAwait(false);
        exited.TrySetResult(process.ExitCode);
    }

    private void Forget()
    {
        _process?.Dispose();
        lock (_writing)
        {
            _writer?.Dispose();
            _writer = null;
        }
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not null)
        {
            Write(line.Data);
        }
    }

    private void Write(string line)
    {
        lock (_writing)
        {
            _writer?.WriteLine(line);
        }
    }
}
