using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// The receiving process of <c>mooncake bench transfer</c>. Says where it listens, then answers one line for each line
/// that it reads: <c>reserve</c>, <c>checksum</c> or <c>usage</c>; ends with its standard input.
/// </summary>
internal sealed class TransferReceiver(TransferSlots target, TextReader input, TextWriter output)
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var peer = new PeerOptions();
        var rpc = new RpcOptions { Port = 0 };
        var loggers = NullLoggerFactory.Instance;
        await using var engine = new TransferEngine(
            new TransferOptions { TcpAddress = rpc.Address }, peer, loggers, TimeProvider.System);
        await using var server = await RpcServer.StartAsync(
            rpc, peer, [RpcService.Of(engine.Service, Wire.Transfer.Descriptor)], () => true, loggers,
            TimeProvider.System, cancellationToken).ConfigureAwait(false);
        await using var naive = await TransferNaiveServer.StartAsync(target, cancellationToken).ConfigureAwait(false);
        using var tcp = new TcpListener(IPAddress.Loopback, 0);
        tcp.Start();
        var serving = ServeTcpAsync(tcp, cancellationToken);
        await SayAsync(
            $"{server.Address} {naive.Address} {((IPEndPoint)tcp.LocalEndpoint).Port}").ConfigureAwait(false);
        await AnswerAsync(engine, cancellationToken).ConfigureAwait(false);
        // Ends the open streams, which the server would wait for.
        await engine.DisposeAsync().ConfigureAwait(false);
        tcp.Stop();
        await serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task AnswerAsync(TransferEngine engine, CancellationToken cancellationToken)
    {
        Reservation? reservation = null;
        while (await input.ReadLineAsync(cancellationToken).ConfigureAwait(false) is { } line)
        {
            switch (line)
            {
                case "reserve":
                    reservation?.Dispose();
                    target.Clear();
                    reservation = engine.Reserve(target.Addresses(), target.SlotBytes);
                    await SayAsync($"{reservation.Id.Id} {reservation.Id.Generation}").ConfigureAwait(false);
                    break;
                case "checksum":
                    await SayAsync($"{target.Checksum()}").ConfigureAwait(false);
                    break;
                default:
                    await SayAsync($"{GC.GetTotalAllocatedBytes(precise: true)} {Environment.CpuUsage.TotalTime.Ticks}")
                        .ConfigureAwait(false);
                    break;
            }
        }

        reservation?.Dispose();
    }

    private async Task SayAsync(FormattableString line)
    {
        await output.WriteLineAsync(line.ToString(CultureInfo.InvariantCulture)).ConfigureAwait(false);
        await output.FlushAsync().ConfigureAwait(false);
    }

    private async Task ServeTcpAsync(TcpListener listener, CancellationToken cancellationToken)
    {
        byte[] done = [1];
        while (true)
        {
            using var socket = await listener.AcceptSocketAsync(cancellationToken).ConfigureAwait(false);
            for (var slot = 0; slot < target.Count; slot++)
            {
                for (var at = 0; at < target.SlotBytes;)
                {
                    var read = await socket
                        .ReceiveAsync(target[slot].AsMemory(at), cancellationToken).ConfigureAwait(false);
                    at += read > 0 ? read : throw new IOException("the sender ended early");
                }
            }

            await socket.SendAsync(done, cancellationToken).ConfigureAwait(false);
        }
    }
}
