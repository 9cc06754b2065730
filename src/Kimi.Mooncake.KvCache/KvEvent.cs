using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache;

/// <summary>
/// A block entered or left the prefix tree. A parent enters before its children and leaves after them.
/// </summary>
/// <param name="Key">Key of the block.</param>
/// <param name="Removed">Whether it left.</param>
public readonly record struct KvEvent(BlockKey Key, bool Removed);
