using Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// What the receiving sides of all transports share: reservations, and the bound on open connections.
/// </summary>
internal sealed class ReceivingEnd : IDisposable
{
    private readonly TransferOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private int _open;

    public ReceivingEnd(TransferOptions options, TransferCounters counters)
    {
        _options = options;
        Reservations = new ReservationTable(counters);
        Stopped = _stop.Token;
    }

    public ReservationTable Reservations { get; }

    public int CreditBytes => _options.CreditBytes;

    /// <summary>Cancelled when the engine stops.</summary>
    public CancellationToken Stopped { get; }

    public int OpenConnections => Volatile.Read(ref _open);

    /// <summary>Where senders of this machine may ask for shared memory; empty when that is off.</summary>
    public string SharedMemoryAddress { get; set; } = "";

    /// <summary>Where frames are taken over TCP; 0 when that is off.</summary>
    public int TcpPort { get; set; }

    public HelloResponse Hello(string senderHost) => new()
    {
        Host = MachineBoot.Name,
        SharedMemory = senderHost == MachineBoot.Name ? SharedMemoryAddress : "",
        TcpPort = (uint)TcpPort,
    };

    /// <summary>Takes one of the open connections; null when there are as many as the options allow.</summary>
    public IDisposable? TryOpen()
    {
        if (Interlocked.Increment(ref _open) <= _options.ReceivingConnectionsMax)
        {
            return new Slot(this);
        }

        Interlocked.Decrement(ref _open);
        return null;
    }

    /// <summary>Ends all connections and closes all reservations; nothing is written afterwards.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        Reservations.Close();
    }

    public void Dispose() => _stop.Dispose();

    private sealed class Slot(ReceivingEnd owner) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref owner._open);
    }
}
