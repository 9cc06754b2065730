using System.Diagnostics;
using System.Globalization;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>
/// Another process. As a receiver it reserves memory, prints address, id and generation, and answers each line that it
/// reads with the bytes written so far and whether all of them are right. As a sender it sends to what it is told,
/// again
/// and again, and prints a line after the first time.
/// </summary>
internal sealed class TransferChild : IDisposable
{
    public const int Slots = 32;
    public const int SlotBytes = 100_000;

    private const int Seed = 4711;

    private readonly Process _process;

    private TransferChild(Process process) => _process = process;

    public static TransferChild Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add(typeof(TransferChild).Assembly.Location);
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        return new TransferChild(Process.Start(start)!);
    }

    public static void Fill(NativeSlots slots) => slots.Fill(new Random(Seed));

    public static TransferOptions OptionsOf(string transport) =>
        TransferPair.OptionsOf(Enum.Parse<TransferTransport>(transport));

    public async Task<string> ReadAsync() =>
        await _process.StandardOutput.ReadLineAsync() ?? throw new IOException("the child ended");

    public async Task<string> AskAsync()
    {
        await _process.StandardInput.WriteLineAsync("?");
        await _process.StandardInput.FlushAsync();
        return await ReadAsync();
    }

    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    private static Task Main(string[] arguments) =>
        arguments[0] == "receive" ? ReceiveAsync(arguments[1]) : SendAsync(arguments);

    private static async Task ReceiveAsync(string transport)
    {
        await using var receiver = await Receiver.StartAsync(OptionsOf(transport));
        using var expected = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        Fill(expected);
        using var reservation = receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await SayAsync($"{receiver.Address} {reservation.Id.Id} {reservation.Id.Generation}");
        while (await Console.In.ReadLineAsync() is not null)
        {
            var isRight = Enumerable.Range(0, Slots).All(slot => target[slot].SequenceEqual(expected[slot]));
            await SayAsync($"{reservation.BytesWritten} {isRight}");
        }
    }

    private static async Task SendAsync(string[] arguments)
    {
        await using var engine = new TransferEngine(
            OptionsOf(arguments[1]), new PeerOptions(),
            Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance, TimeProvider.System);
        using var source = new NativeSlots(Slots, SlotBytes);
        Fill(source);
        var target = new ReservationId(
            ulong.Parse(arguments[3], CultureInfo.InvariantCulture),
            uint.Parse(arguments[4], CultureInfo.InvariantCulture));
        await using var session = await engine.BeginAsync(
            arguments[2], target, TransferPriority.HandOver, 1_000_000, CancellationToken.None);
        for (var round = 0; ; round++)
        {
            for (var slot = 0; slot < Slots; slot++)
            {
                session.TryEnqueue(source.Address(slot), SlotBytes, slot, 0);
            }

            await session.FlushAsync(CancellationToken.None);
            if (round == 0)
            {
                await SayAsync($"{session.BytesAcknowledged}");
            }
        }
    }

    private static async Task SayAsync(FormattableString line)
    {
        await Console.Out.WriteLineAsync(line.ToString(CultureInfo.InvariantCulture));
        await Console.Out.FlushAsync();
    }
}
