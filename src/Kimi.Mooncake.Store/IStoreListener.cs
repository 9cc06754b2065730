using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Is told which blocks can be found. Called in the order of events, by one thread at a time, on whichever thread
/// caused or met them; must be quick and must not throw.
/// </summary>
public interface IStoreListener
{
    /// <summary>A block can be found from now on; may be said again of a block that is known.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Key of the block before it, as it was put.</param>
    void Stored(BlockKey key, BlockKey parent);

    /// <summary>A block cannot be found any more.</summary>
    /// <param name="key">Its key.</param>
    void Removed(BlockKey key);
}
