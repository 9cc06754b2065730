using Kimi.Mooncake.Gateway;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>What a process has opened; closed in the opposite order.</summary>
internal sealed class OpenedParts : IAsyncDisposable
{
    private readonly Stack<object> _parts = new();

    /// <summary>Takes a part over.</summary>
    public T Keep<T>(T part)
        where T : class
    {
        _parts.Push(part);
        return part;
    }

    /// <summary>Lets open requests end as far as the limits allow, then closes everything.</summary>
    public async ValueTask DisposeAsync()
    {
        while (_parts.TryPop(out var part))
        {
            switch (part)
            {
                case GatewayServer gateway:
                    await gateway.StopAsync(CancellationToken.None).ConfigureAwait(false);
                    await gateway.DisposeAsync().ConfigureAwait(false);
                    break;
                case IAsyncDisposable asynchronous:
                    await asynchronous.DisposeAsync().ConfigureAwait(false);
                    break;
                default:
                    ((IDisposable)part).Dispose();
                    break;
            }
        }
    }
}
