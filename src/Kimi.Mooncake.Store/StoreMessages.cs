using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

internal static partial class StoreMessages
{
    [LoggerMessage(1, LogLevel.Information,
        "Store '{Directory}': {Blocks} blocks found, {Damaged} damaged parts dropped, in {Milliseconds} ms.")]
    public static partial void Opened(
        ILogger logger, string directory, int blocks, long damaged, double milliseconds);

    [LoggerMessage(2, LogLevel.Warning,
        "Store segment '{Path}' holds no flushed block of this model and layout, or is damaged; deleted: {Deleted}.")]
    public static partial void SegmentDropped(ILogger logger, string path, bool deleted);

    [LoggerMessage(3, LogLevel.Warning, "Store segment '{Path}' cannot be read: {Reason}")]
    public static partial void SegmentUnreadable(ILogger logger, string path, string reason);

    [LoggerMessage(4, LogLevel.Warning,
        "Store '{Directory}': segment number {Segment} is past the end of the address space; starting empty.")]
    public static partial void SegmentOutOfRange(ILogger logger, string directory, int segment);

    [LoggerMessage(5, LogLevel.Warning,
        "Store '{Directory}': the disk refused a write ({Reason}); {Blocks} blocks are not kept.")]
    public static partial void WriteRefused(ILogger logger, string directory, string reason, int blocks);

    [LoggerMessage(6, LogLevel.Warning, "Store: block {Key} on disk is damaged and was removed.")]
    public static partial void BlockDamaged(ILogger logger, BlockKeyText key);

    [LoggerMessage(7, LogLevel.Error, "Store '{Directory}': background flush failed: {Reason}")]
    public static partial void FlushFailed(ILogger logger, string directory, string reason);
}

/// <summary>Formats a key only when the message is written.</summary>
internal readonly record struct BlockKeyText(Core.BlockKey Key)
{
    public override string ToString() => Key.ToString();
}
