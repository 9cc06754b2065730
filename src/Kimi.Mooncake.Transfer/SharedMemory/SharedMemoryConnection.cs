using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.Versioning;
using System.Security.Cryptography;

namespace Kimi.Mooncake.Transfer;

/// <summary>The sender's side of a ring.</summary>
[SupportedOSPlatform("linux")]
internal sealed class SharedMemoryConnection : IFrameConnection
{
    private const int Spins = 20;
    private const int SpinIterations = 30;

    private readonly SharedRing _ring;
    private readonly Doorbell _doorbell;
    private readonly TransferFault _fault;
    private int _unanswered;

    private SharedMemoryConnection(SharedRing ring, Doorbell doorbell, TransferFault fault)
    {
        _ring = ring;
        _doorbell = doorbell;
        _fault = fault;
    }

    public TransferTransport Transport => TransferTransport.SharedMemory;

    /// <summary>Offers a ring to a receiver.</summary>
    /// <param name="address">What the receiver's Hello said.</param>
    /// <param name="context">Bounds.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="TransportUnavailableException">The receiver, or the system, refuses.</exception>
    public static async Task<IFrameConnection> OpenAsync(
        string address, SendingContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        SharedRing? ring = null;
        try
        {
            using var limit = new CancellationTokenSource(context.AnswerTimeMax, context.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
            await socket.ConnectAsync(SharedMemoryListener.EndPointOf(address), either.Token).ConfigureAwait(false);
            var nonce = RandomNumberGenerator.GetBytes(SharedRing.NonceBytes);
            var ringBytes = SharedRing.RingBytes(context.Options);
            ring = SharedRing.Create(ringBytes, nonce, out var memory);
            using (memory)
            {
                var offer = new SharedMemoryHandshake((int)memory.DangerousGetHandle(), ringBytes, nonce);
                await offer.SendAsync(socket, either.Token).ConfigureAwait(false);
                var answer = new byte[1];
                var read = await socket.ReceiveAsync(answer, either.Token).ConfigureAwait(false);
                if (read == 0 || answer[0] != SharedMemoryHandshake.Accepted)
                {
                    throw new TransportUnavailableException("the receiver cannot open this process's memory");
                }
            }

            return new SharedMemoryConnection(ring, new Doorbell(socket), context.Fault);
        }
        catch (Exception e)
        {
            ring?.Dispose();
            socket.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            throw e as TransportUnavailableException ?? new TransportUnavailableException(e.Message, e);
        }
    }

    public bool HasRoom(int bytes) =>
        Volatile.Read(ref _unanswered) < SharedRing.RepliesMax && _ring.HasRoom(bytes);

    public unsafe ValueTask SendAsync(FrameToSend frame)
    {
        bool wakes;
        try
        {
            Interlocked.Increment(ref _unanswered);
            wakes = _ring.Write(
                frame.Header, new ReadOnlySpan<byte>((void*)frame.Source, frame.Header.Bytes),
                _fault.CorruptsNextFrame());
        }
        finally
        {
            frame.EndRead();
        }

        if (wakes)
        {
            _doorbell.Ring();
        }

        return ValueTask.CompletedTask;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken)
    {
        FrameReply reply;
        for (var spins = 0; !_ring.TryReadReply(out reply); spins++)
        {
            if (spins < Spins)
            {
                Thread.SpinWait(SpinIterations);
            }
            else if (_ring.SenderMaySleep())
            {
                await _doorbell.WaitAsync().ConfigureAwait(false);
                spins = 0;
            }
        }

        Interlocked.Decrement(ref _unanswered);
        return reply;
    }

    public void Abort() => _doorbell.Dispose();

    public ValueTask DisposeAsync()
    {
        _doorbell.Dispose();
        _ring.Dispose();
        return ValueTask.CompletedTask;
    }
}
