using System.Runtime.Versioning;

namespace Kimi.Mooncake.Transfer;

/// <summary>The receiver's side of a ring: writes the frames where they belong, and answers them.</summary>
[SupportedOSPlatform("linux")]
internal sealed class SharedMemoryReceiver(SharedRing ring, Doorbell doorbell, ReceivingEnd receiving) : IDisposable
{
    private const int Spins = 20;
    private const int SpinIterations = 30;

    /// <summary>Until the sender is gone or the socket is closed, which ends it with an exception.</summary>
    public async Task RunAsync()
    {
        var spins = 0;
        while (!receiving.Stopped.IsCancellationRequested)
        {
            if (TakeFrame())
            {
                spins = 0;
            }
            else if (spins++ < Spins)
            {
                Thread.SpinWait(SpinIterations);
            }
            else if (ring.ReceiverMaySleep())
            {
                await doorbell.WaitAsync().ConfigureAwait(false);
                spins = 0;
            }
        }
    }

    public void Dispose() => doorbell.Dispose();

    private bool TakeFrame()
    {
        if (!ring.TryRead(out var header, out var payload))
        {
            return false;
        }

        var outcome = receiving.Reservations.Write(TransferTransport.SharedMemory, header, payload);
        if (ring.Release(header, outcome))
        {
            doorbell.Ring();
        }

        return true;
    }
}
