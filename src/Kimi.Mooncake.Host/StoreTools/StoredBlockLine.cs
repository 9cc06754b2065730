using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>A block as the tools print it; times are UTC, and null where there is none.</summary>
internal sealed record StoredBlockLine(
    string Key,
    string? Parent,
    string Tenant,
    int Tokens,
    BlockClass Class,
    PinKind Pin,
    DateTimeOffset? PinUntil,
    DateTimeOffset? Expires,
    int Priority,
    DateTimeOffset Stored,
    int Bytes,
    int Segment,
    long Offset)
{
    public static StoredBlockLine Of(StoredBlockInfo block) => new(
        block.Key.ToString(),
        block.Parent == default || block.Parent == block.Key ? null : block.Parent.ToString(),
        block.Tenant,
        block.Tokens,
        block.Class,
        block.Pin,
        block.PinUntil,
        block.Expires,
        block.Priority,
        block.Stored,
        block.Bytes,
        block.Segment,
        block.Offset);
}
