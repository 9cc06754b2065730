using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The socket between the two sides of a ring: a byte wakes the other side, and the end of the stream says that its
/// process is gone.
/// </summary>
internal sealed class Doorbell(Socket socket) : IDisposable
{
    private readonly byte[] _received = new byte[64];
    private readonly byte[] _sent = [1];

    /// <exception cref="SocketException">The other side is gone.</exception>
    public void Ring() => socket.Send(_sent);

    /// <summary>Ends when the other side rang.</summary>
    /// <exception cref="IOException">The other side is gone.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WaitAsync()
    {
        if (await socket.ReceiveAsync(_received, SocketFlags.None, CancellationToken.None).ConfigureAwait(false) == 0)
        {
            throw new IOException("the other side closed its end");
        }
    }

    public void Dispose() => socket.Dispose();
}
