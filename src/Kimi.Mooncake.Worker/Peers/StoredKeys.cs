using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.Store;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Tells which blocks a store has. Where there are more than may be told, the rest is left out: they are found by
/// asking the node.
/// </summary>
/// <param name="keysMax">Most keys at once.</param>
/// <param name="logger">Is told when some are left out.</param>
internal sealed class StoredKeys(int keysMax, ILogger logger) : IStoreListener
{
    private bool _isUntoldSaid;

    public KvEventFeed Feed { get; } = new(keysMax: keysMax);

    /// <inheritdoc />
    public void Stored(BlockKey key, BlockKey parent)
    {
        Feed.Publish([new KvEvent(key, Removed: false)]);
        if (!_isUntoldSaid && Feed.Untold > 0)
        {
            _isUntoldSaid = true;
            PeerLog.KeysUntold(logger, keysMax);
        }
    }

    /// <inheritdoc />
    public void Removed(BlockKey key) => Feed.Publish([new KvEvent(key, Removed: true)]);
}
