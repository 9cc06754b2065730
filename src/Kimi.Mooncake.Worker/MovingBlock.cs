using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>A block on its way between pool and store.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Parent">Key of the block before it.</param>
/// <param name="BlockId">Its place in the pool.</param>
/// <param name="Attributes">What is stored with it.</param>
internal readonly record struct MovingBlock(BlockKey Key, BlockKey Parent, int BlockId, BlockAttributes Attributes);
