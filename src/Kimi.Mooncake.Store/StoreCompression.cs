namespace Kimi.Mooncake.Store;

/// <summary>How blocks are made smaller on disk.</summary>
public enum StoreCompression
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>
    /// Bytes of equal significance together, then Brotli at a low level. A block that does not shrink is stored as it
    /// is.
    /// </summary>
    Brotli = 1,
}
