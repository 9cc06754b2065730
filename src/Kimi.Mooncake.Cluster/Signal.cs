using System.Threading.Channels;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// Tells one waiter that there is something to do. Setting it never blocks and runs nothing of the waiter; setting it
/// twice before the waiter comes is the same as once.
/// </summary>
internal sealed class Signal
{
    private readonly Channel<bool> _set = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    public void Set() => _set.Writer.TryWrite(true);

    public async ValueTask WaitAsync(CancellationToken cancellationToken) =>
        await _set.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
}
