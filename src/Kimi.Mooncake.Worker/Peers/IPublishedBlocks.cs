using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Blocks of a pool that other processes may read while they are held. Any thread may call.</summary>
internal interface IPublishedBlocks
{
    /// <summary>First byte of a block of the pool.</summary>
    nint AddressOf(int blockId);

    /// <summary>How many of the first keys are published, without a gap.</summary>
    Task<int> CountAsync(ReadOnlyMemory<BlockKey> keys);

    /// <summary>
    /// Holds the first blocks that are published, without a gap, as far as pulls may hold more; the caller releases
    /// them.
    /// </summary>
    /// <param name="keys">Keys in prefix order; the first need not be that of a first block.</param>
    /// <returns>The blocks that are held now.</returns>
    Task<int[]> HoldAsync(ReadOnlyMemory<BlockKey> keys);

    /// <summary>Gives blocks back.</summary>
    void Release(int[] blockIds);
}
