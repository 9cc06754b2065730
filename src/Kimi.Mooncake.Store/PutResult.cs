namespace Kimi.Mooncake.Store;

/// <summary>What became of a put.</summary>
public enum PutResult
{
    /// <summary>The block is stored; it survives the process once it is flushed.</summary>
    Stored,

    /// <summary>A block of this key is stored already, or another thread is storing it. Nothing was copied.</summary>
    Duplicate,

    /// <summary>The disk could not take the block in time, or failed a moment ago. The block is not stored.</summary>
    Refused,
}
