using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>What a store's folder holds.</summary>
/// <param name="FormatVersion">Version of the files.</param>
/// <param name="Layout">Layout of the blocks.</param>
/// <param name="Fingerprint">Names the model's weights.</param>
/// <param name="BlockBytes">Bytes of a block.</param>
/// <param name="Segments">Segment files.</param>
/// <param name="FileBytes">Bytes of these.</param>
/// <param name="Blocks">Blocks that can be found.</param>
/// <param name="LiveBytes">Bytes that they take in the segment files.</param>
/// <param name="DamagedEntries">Index entries that failed their check.</param>
/// <param name="Tenants">Blocks and bytes of each tenant; quotas are not on disk.</param>
public sealed record StoreContents(
    int FormatVersion, string Layout, string Fingerprint, int BlockBytes, int Segments, long FileBytes, long Blocks,
    long LiveBytes, long DamagedEntries, IReadOnlyList<TenantUsage> Tenants);

/// <summary>A stored block as its index entry says.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Parent">Key of the block before it; default where it has none.</param>
/// <param name="Tenant">Who pays for it; a question mark and a hash where the name is lost.</param>
/// <param name="Tokens">Tokens in it.</param>
/// <param name="Class">What it belongs to.</param>
/// <param name="Pin">How strongly it is held on to.</param>
/// <param name="PinUntil">When that ends; null: never, or not pinned.</param>
/// <param name="Expires">When it becomes a miss; null: never.</param>
/// <param name="Priority">0 to 3.</param>
/// <param name="Stored">When this was written.</param>
/// <param name="Bytes">Bytes that it takes in its segment file.</param>
/// <param name="Segment">Number of that file.</param>
/// <param name="Offset">Where its record begins in it.</param>
public sealed record StoredBlockInfo(
    BlockKey Key, BlockKey Parent, string Tenant, int Tokens, BlockClass Class, PinKind Pin, DateTimeOffset? PinUntil,
    DateTimeOffset? Expires, int Priority, DateTimeOffset Stored, int Bytes, int Segment, long Offset);

/// <summary>What reading every block of a folder has shown so far.</summary>
/// <param name="Blocks">Blocks to be read.</param>
/// <param name="Intact">Blocks that were what was put.</param>
/// <param name="Bad">Keys of blocks that were not, or could not be read.</param>
public sealed record StoreVerification(long Blocks, long Intact, IReadOnlyList<BlockKey> Bad);
