using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>What the index knows about a block, for listings and for writing it anew.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Parent">Key of the block before; default when there is none.</param>
/// <param name="Bytes">Bytes that it counts for.</param>
/// <param name="Tenant">Who pays for them.</param>
/// <param name="Pin">How strongly it is held on to; a pin that has ended is none.</param>
/// <param name="PinUntilMs">When the pin ends, on the caller's clock; <see cref="long.MaxValue"/> never.</param>
/// <param name="ExpiresMs">When it becomes a miss; <see cref="long.MaxValue"/> never.</param>
/// <param name="Priority">0 to 3.</param>
/// <param name="LeaseUntilMs">Until when it is protected from eviction; 0 not at all.</param>
/// <param name="Uses">How often it was used since it was added.</param>
/// <param name="Depth">Blocks before it in its prefix, as far as they are known.</param>
/// <param name="Children">Blocks that follow on it directly.</param>
public readonly record struct RetainedBlock(
    BlockKey Key,
    BlockKey Parent,
    int Bytes,
    int Tenant,
    PinKind Pin,
    long PinUntilMs,
    long ExpiresMs,
    int Priority,
    long LeaseUntilMs,
    int Uses,
    int Depth,
    int Children);
