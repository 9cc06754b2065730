using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// Kills a process that works on a store at random instants, again and again on the same folder, and looks each time
/// whether the store kept what it promises.
/// </summary>
internal sealed class CrashRun(string directory, int seed, int kills, int lossMs, Terminal terminal)
{
    /// <summary>Longest time in which the store must answer again.</summary>
    public const int RestartMsMax = 2_000;

    private const int KillAfterMsMin = 20;
    private const int KillAfterMsMax = 2_000;
    private const int PollMs = 5;

    private readonly CrashObjects _objects = new(seed);
    private readonly CrashBooks _books = new(new CrashObjects(seed));
    private readonly Random _random = new(seed);

    /// <summary>Does all the kills.</summary>
    /// <param name="told">Is told of each.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="CommandException">The process could not be started, or ended by itself.</exception>
    public async Task<CrashReport> RunAsync(Action<CrashRound> told, CancellationToken cancellationToken)
    {
        var rounds = new List<CrashRound>();
        while (rounds.Count < kills)
        {
            var wrongBefore = _books.WrongReads;
            var (afterMs, killedMs) = await KillOneAsync(cancellationToken).ConfigureAwait(false);
            var round = await LookAsync(rounds.Count + 1, afterMs, killedMs, wrongBefore, cancellationToken)
                .ConfigureAwait(false);
            rounds.Add(round);
            told(round);
        }

        return new CrashReport
        {
            Seed = seed,
            Directory = directory,
            LossMs = lossMs,
            RestartMsMax = RestartMsMax,
            Rounds = rounds,
        };
    }

    private async Task<(int AfterMs, long KilledMs)> KillOneAsync(CancellationToken cancellationToken)
    {
        using var process = Start();
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        try
        {
            await TellAsync(process.StandardInput, cancellationToken).ConfigureAwait(false);
            var first = await process.StandardOutput.ReadLineAsync(cancellationToken).ConfigureAwait(false);
            if (first != "ready")
            {
                throw new CommandException(
                    $"the process under load ended: {first} {await errors.ConfigureAwait(false)}");
            }

            var reading = NoteAllAsync(process.StandardOutput, cancellationToken);
            var afterMs = _random.Next(KillAfterMsMin, KillAfterMsMax);
            await Task.WhenAny(Task.Delay(afterMs, cancellationToken), reading).ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            if (reading.IsCompleted)
            {
                throw new CommandException($"the process under load ended: {await errors.ConfigureAwait(false)}");
            }

            var killedMs = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
            process.Kill();
            await reading.ConfigureAwait(false);
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            return (afterMs, killedMs);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private Process Start()
    {
        try
        {
            return Process.Start(OwnExecutable.StartInfo(StoreCrashCommand.LoadArguments(directory, seed)))
                ?? throw new CommandException("the process under load could not be started");
        }
        catch (Win32Exception fault)
        {
            throw new CommandException($"the process under load could not be started: {fault.Message}");
        }
    }

    private async Task TellAsync(StreamWriter input, CancellationToken cancellationToken)
    {
        await input.WriteLineAsync(_books.Next.ToString(CultureInfo.InvariantCulture)).ConfigureAwait(false);
        foreach (var number in _books.Known)
        {
            await input.WriteLineAsync(number.ToString(CultureInfo.InvariantCulture)).ConfigureAwait(false);
        }

        await input.WriteLineAsync(".".AsMemory(), cancellationToken).ConfigureAwait(false);
        await input.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task NoteAllAsync(StreamReader output, CancellationToken cancellationToken)
    {
        // A line that the kill cut off is the last one; nothing follows it, so it is not noted.
        string? line = null;
        while (await output.ReadLineAsync(cancellationToken).ConfigureAwait(false) is { } next)
        {
            if (line is not null)
            {
                _books.Note(line);
            }

            line = next;
        }
    }

    private async Task<CrashRound> LookAsync(
        int kill, int afterMs, long killedMs, int wrongBefore, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        var store = KvBlockStore.Open(
            CrashObjects.OptionsOf(directory), CrashObjects.Layout, CrashObjects.Fingerprint);
        await using (store.ConfigureAwait(false))
        {
            store.CountStored([_objects.KeyOf(0)]);
            var restartMs = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            while (!store.Recovering.Done)
            {
                await Task.Delay(PollMs, cancellationToken).ConfigureAwait(false);
            }

            var scanMs = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            var findings = _books.Compare(store, killedMs - lossMs, cancellationToken);
            if (terminal.IsInteractive)
            {
                terminal.Redraw($"kill {kill} of {kills}: {findings.Found} objects");
            }

            return new CrashRound(
                kill, afterMs, restartMs, scanMs, findings.Expected, findings.Found, findings.Lost, findings.CameBack,
                findings.Wrong + _books.WrongReads - wrongBefore, findings.Examples, store.Statistics().DiskBytes);
        }
    }
}
