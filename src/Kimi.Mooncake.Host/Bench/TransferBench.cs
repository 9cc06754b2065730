using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Google.Protobuf;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Moves the same bytes from this process to another one in every way there is: as the product does, and as one would
/// without it. Every round is checked by a checksum over all of the receiver's memory.
/// </summary>
internal sealed class TransferBench(int frames, int rounds, Action<string> remark)
{
    /// <summary>Bytes of a frame, those of <c>transfer.frame_bytes</c>.</summary>
    public static readonly int FrameBytes = new TransferOptions().FrameBytes;

    private const string Naive = "one stream of protobuf bytes";
    private const string Tcp = "TCP on loopback, no checksum";
    private const string Memcpy = "memcpy, no checksum";

    private readonly TransferSlots _source = new(frames, FrameBytes);

    public async Task<TransferReport> RunAsync(CancellationToken cancellationToken)
    {
        _source.Fill(new Random(1));
        await using var child = await TransferChild.StartAsync(frames, cancellationToken).ConfigureAwait(false);
        var grpc = await MeasureProductAsync(
            "gRPC", new TransferOptions { SharedMemory = false }, child, cancellationToken).ConfigureAwait(false);
        var shared = await MeasureProductAsync(
            "shared memory", new TransferOptions(), child, cancellationToken).ConfigureAwait(false);
        var framed = await MeasureProductAsync(
            "frames over TCP", new TransferOptions { SharedMemory = false, TcpAddress = "127.0.0.1" }, child,
            cancellationToken).ConfigureAwait(false);
        var naive = await MeasureAsync(Naive, child, _ => SendNaiveAsync(child, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
        var tcp = await MeasureAsync(Tcp, child, _ => SendTcpAsync(child, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
        var memcpy = MeasureMemcpy();
        return new TransferReport
        {
            Bytes = _source.Bytes,
            FrameBytes = FrameBytes,
            Rounds = rounds,
            Rows = [grpc, naive, framed, tcp, shared, memcpy],
            GrpcOverNaive = grpc.GigabytesPerSecond / naive.GigabytesPerSecond,
            GrpcOverTcp = grpc.GigabytesPerSecond / tcp.GigabytesPerSecond,
            FramesOverTcpOverTcp = framed.GigabytesPerSecond / tcp.GigabytesPerSecond,
            SharedMemoryOverMemcpy = shared.GigabytesPerSecond / memcpy.GigabytesPerSecond,
        };
    }

    private async Task<TransferRow> MeasureProductAsync(
        string name, TransferOptions options, TransferChild child, CancellationToken cancellationToken)
    {
        await using var engine = new TransferEngine(
            options, new PeerOptions(), NullLoggerFactory.Instance, TimeProvider.System);
        var addresses = _source.Addresses();
        return await MeasureAsync(
            name, child, target => SendAsync(engine, child.Addresses.Product, target, addresses, cancellationToken),
            cancellationToken).ConfigureAwait(false);
    }

    private async Task<TransferRow> MeasureAsync(
        string name, TransferChild child, Func<ReservationId, Task<TimeSpan>> send, CancellationToken cancellationToken)
    {
        var expected = _source.Checksum();
        var rates = new List<double>();
        var allocated = new List<(double Sent, double Received)>();
        var processor = new List<double>();
        // The first round connects, compiles and fills pools.
        for (var round = 0; round <= rounds; round++)
        {
            var target = await child.ReserveAsync(cancellationToken).ConfigureAwait(false);
            var before = await UsageAsync(child, cancellationToken).ConfigureAwait(false);
            var taken = await send(target).ConfigureAwait(false);
            var after = await UsageAsync(child, cancellationToken).ConfigureAwait(false);
            if (await child.ChecksumAsync(cancellationToken).ConfigureAwait(false) != expected)
            {
                throw new CommandException($"{name}: the receiver has other bytes than were sent");
            }

            if (round > 0)
            {
                rates.Add(_source.Bytes / taken.TotalSeconds / 1e9);
                allocated.Add(((double)(after.Sent - before.Sent) / frames,
                    (double)(after.Received - before.Received) / frames));
                processor.Add((after.Processor - before.Processor).TotalSeconds / (_source.Bytes / 1e9));
                remark(FormattableString.Invariant($"{name}: {rates[^1]:0.00} GB/s"));
            }
        }

        return new TransferRow(
            name, Median(rates), rates.Min(), Median(allocated.ConvertAll(round => round.Sent)),
            Median(allocated.ConvertAll(round => round.Received)), Median(processor));
    }

    private static async Task<(long Sent, long Received, TimeSpan Processor)> UsageAsync(
        TransferChild child, CancellationToken cancellationToken)
    {
        var received = await child.UsageAsync(cancellationToken).ConfigureAwait(false);
        return (GC.GetTotalAllocatedBytes(precise: true), received.AllocatedBytes,
            received.Processor + Environment.CpuUsage.TotalTime);
    }

    private async Task<TimeSpan> SendAsync(
        TransferEngine engine, string address, ReservationId target, nint[] addresses,
        CancellationToken cancellationToken)
    {
        await using var session = await engine
            .BeginAsync(address, target, TransferPriority.HandOver, frames, cancellationToken).ConfigureAwait(false);
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < frames; i++)
        {
            if (!session.TryEnqueue(addresses[i], FrameBytes, i, 0))
            {
                break;
            }
        }

        await session.FlushAsync(cancellationToken).ConfigureAwait(false);
        return Stopwatch.GetElapsedTime(start);
    }

    private async Task<TimeSpan> SendNaiveAsync(TransferChild child, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Create(child.Addresses.Naive, new PeerOptions(), NullLoggerFactory.Instance);
        var start = Stopwatch.GetTimestamp();
        using var call = new Wire.Transfer.TransferClient(channel.Invoker)
            .Frames(cancellationToken: cancellationToken);
        for (var i = 0; i < frames; i++)
        {
            var frame = new Wire.Frame { Slot = (uint)i, Payload = ByteString.CopyFrom(_source[i]) };
            await call.RequestStream.WriteAsync(frame, cancellationToken).ConfigureAwait(false);
        }

        await call.RequestStream.CompleteAsync().ConfigureAwait(false);
        await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false);
        return Stopwatch.GetElapsedTime(start);
    }

    private async Task<TimeSpan> SendTcpAsync(TransferChild child, CancellationToken cancellationToken)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.NoDelay = true;
        await socket.ConnectAsync(IPAddress.Loopback, child.Addresses.TcpPort, cancellationToken).ConfigureAwait(false);
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < frames; i++)
        {
            for (var at = 0; at < FrameBytes;)
            {
                at += await socket.SendAsync(_source[i].AsMemory(at), cancellationToken).ConfigureAwait(false);
            }
        }

        await socket.ReceiveAsync(new byte[1], cancellationToken).ConfigureAwait(false);
        return Stopwatch.GetElapsedTime(start);
    }

    private TransferRow MeasureMemcpy()
    {
        var target = new TransferSlots(frames, FrameBytes);
        var rates = new List<double>();
        for (var round = 0; round <= rounds; round++)
        {
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < frames; i++)
            {
                _source[i].AsSpan().CopyTo(target[i]);
            }

            rates.Add(_source.Bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }

        rates.RemoveAt(0);
        remark(FormattableString.Invariant($"{Memcpy}: {Median(rates):0.00} GB/s"));
        return new TransferRow(Memcpy, Median(rates), rates.Min(), 0, 0, 0);
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
