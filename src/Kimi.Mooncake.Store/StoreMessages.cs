using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

internal static partial class StoreMessages
{
    [LoggerMessage(1, LogLevel.Information,
        "Store '{Directory}': open, with {Segments} segments to be looked at, in {Milliseconds} ms.")]
    public static partial void Opened(ILogger logger, string directory, int segments, double milliseconds);

    [LoggerMessage(2, LogLevel.Warning,
        "Store segment '{Path}' holds no flushed block of this model and layout, or is damaged; it is deleted.")]
    public static partial void SegmentDropped(ILogger logger, string path);

    [LoggerMessage(3, LogLevel.Warning, "Store segment '{Path}' cannot be read: {Reason}")]
    public static partial void SegmentUnreadable(ILogger logger, string path, string reason);

    [LoggerMessage(4, LogLevel.Warning,
        "Store '{Directory}' holds blocks of format version 1, which are dropped: this is version {Version}.")]
    public static partial void OldVersionDropped(ILogger logger, string directory, int version);

    [LoggerMessage(5, LogLevel.Warning,
        "Store '{Directory}': the disk refused a write ({Reason}); {Blocks} blocks are not kept.")]
    public static partial void WriteRefused(ILogger logger, string directory, string reason, int blocks);

    [LoggerMessage(6, LogLevel.Warning, "Store: block {Key} on disk is damaged and was removed.")]
    public static partial void BlockDamaged(ILogger logger, BlockKeyText key);

    [LoggerMessage(7, LogLevel.Error, "Store '{Directory}': background flush failed: {Reason}")]
    public static partial void FlushFailed(ILogger logger, string directory, string reason);

    [LoggerMessage(8, LogLevel.Error, "Store '{Directory}': moving blocks together failed: {Reason}")]
    public static partial void CompactionFailed(ILogger logger, string directory, string reason);

    [LoggerMessage(9, LogLevel.Warning, "Store segment '{Path}' cannot be deleted.")]
    public static partial void SegmentStays(ILogger logger, string path);

    [LoggerMessage(10, LogLevel.Warning,
        "Store '{Directory}' holds blocks of another model or layout, which are dropped.")]
    public static partial void OtherModelDropped(ILogger logger, string directory);

    [LoggerMessage(11, LogLevel.Information,
        "Store '{Directory}': {Blocks} blocks found, {Damaged} damaged parts dropped, after {Milliseconds} ms.")]
    public static partial void Scanned(
        ILogger logger, string directory, long blocks, long damaged, double milliseconds);

    [LoggerMessage(12, LogLevel.Error, "Store '{Directory}': looking for blocks failed: {Reason}")]
    public static partial void ScanFailed(ILogger logger, string directory, string reason);
}

/// <summary>Formats a key only when the message is written.</summary>
internal readonly record struct BlockKeyText(Core.BlockKey Key)
{
    public override string ToString() => Key.ToString();
}
