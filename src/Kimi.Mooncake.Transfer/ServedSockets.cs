using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The sockets that a listener has accepted and that are being served; all of them can be ended at once.
/// </summary>
internal sealed class ServedSockets
{
    private readonly Lock _gate = new();
    private readonly HashSet<Socket> _open = [];
    private readonly HashSet<Task> _serving = [];
    private bool _isStopped;

    /// <summary>Accepts and serves until <see cref="StopAsync"/>.</summary>
    public async Task AcceptAsync(Socket listener, Func<Socket, Task> serve, ILogger logger)
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                if (!IsStopped())
                {
                    TransferLog.ListenerFailed(logger, e.Message);
                }

                return;
            }

            Start(socket, serve, logger);
        }
    }

    /// <summary>Closes the listener and all sockets, and waits until none is being served.</summary>
    public async Task StopAsync(Socket listener)
    {
        Task[] serving;
        lock (_gate)
        {
            _isStopped = true;
            listener.Dispose();
            foreach (var socket in _open)
            {
                socket.Dispose();
            }

            serving = [.. _serving];
        }

        await Task.WhenAll(serving).ConfigureAwait(false);
    }

    private bool IsStopped()
    {
        lock (_gate)
        {
            return _isStopped;
        }
    }

    private void Start(Socket socket, Func<Socket, Task> serve, ILogger logger)
    {
        lock (_gate)
        {
            if (_isStopped)
            {
                socket.Dispose();
                return;
            }

            _open.Add(socket);
            var serving = Task.Run(() => ServeAsync(socket, serve, logger));
            _serving.Add(serving);
            _ = serving.ContinueWith(ended => Forget(socket, ended), TaskScheduler.Default);
        }
    }

    private void Forget(Socket socket, Task ended)
    {
        lock (_gate)
        {
            _open.Remove(socket);
            _serving.Remove(ended);
        }
    }

    private async Task ServeAsync(Socket socket, Func<Socket, Task> serve, ILogger logger)
    {
        using var owned = socket;
        try
        {
            await serve(socket).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException
            or OperationCanceledException or InvalidDataException)
        {
            if (!IsStopped())
            {
                TransferLog.SenderLost(logger, e.Message);
            }
        }
    }
}
