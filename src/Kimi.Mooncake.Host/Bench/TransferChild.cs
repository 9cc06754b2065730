using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>The receiving process as the sending one sees it. Whoever started it ends it.</summary>
internal sealed class TransferChild : IAsyncDisposable
{
    private readonly Process _process;

    private TransferChild(Process process) => _process = process;

    /// <summary>Where the product's service, the generated one and plain TCP are.</summary>
    public (string Product, string Naive, int TcpPort) Addresses { get; private set; }

    /// <exception cref="CommandException">It could not be started, or ended at once.</exception>
    public static async Task<TransferChild> StartAsync(int frames, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        // Started as `dotnet mooncake.dll` the process is dotnet, and the assembly its first argument.
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
        {
            start.ArgumentList.Add(typeof(TransferChild).Assembly.Location);
        }

        foreach (var argument in BenchTransferCommand.ReceiverArguments(frames))
        {
            start.ArgumentList.Add(argument);
        }

        var child = new TransferChild(Process.Start(start)
            ?? throw new CommandException($"{Environment.ProcessPath} could not be started"));
        try
        {
            var line = (await child.ReadAsync(cancellationToken).ConfigureAwait(false)).Split(' ');
            child.Addresses = (line[0].TrimEnd('/'), line[1].TrimEnd('/'), Number<int>(line[2]));
            return child;
        }
        catch
        {
            await child.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Clears the memory and reserves all of it.</summary>
    public async Task<ReservationId> ReserveAsync(CancellationToken cancellationToken)
    {
        var answer = (await AskAsync("reserve", cancellationToken).ConfigureAwait(false)).Split(' ');
        return new ReservationId(Number<ulong>(answer[0]), Number<uint>(answer[1]));
    }

    /// <summary>The checksum over all of the memory.</summary>
    public async Task<uint> ChecksumAsync(CancellationToken cancellationToken) =>
        Number<uint>(await AskAsync("checksum", cancellationToken).ConfigureAwait(false));

    /// <summary>Managed memory and processor time that the process has taken so far.</summary>
    public async Task<(long AllocatedBytes, TimeSpan Processor)> UsageAsync(CancellationToken cancellationToken)
    {
        var answer = (await AskAsync("usage", cancellationToken).ConfigureAwait(false)).Split(' ');
        return (Number<long>(answer[0]), TimeSpan.FromTicks(Number<long>(answer[1])));
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        _process.Dispose();
    }

    private static T Number<T>(string text)
        where T : IParsable<T> => T.Parse(text, CultureInfo.InvariantCulture);

    private async Task<string> AskAsync(string question, CancellationToken cancellationToken)
    {
        await _process.StandardInput.WriteLineAsync(question.AsMemory(), cancellationToken).ConfigureAwait(false);
        await _process.StandardInput.FlushAsync(cancellationToken).ConfigureAwait(false);
        return await ReadAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task<string> ReadAsync(CancellationToken cancellationToken) =>
        await _process.StandardOutput.ReadLineAsync(cancellationToken).ConfigureAwait(false)
            ?? throw new CommandException("the receiving process ended");
}
