namespace Kimi.Mooncake.Store;

/// <summary>How far a store is with finding what earlier runs left on disk. It serves meanwhile.</summary>
/// <param name="SegmentsLeft">Segments still to be looked at.</param>
/// <param name="SegmentsTotal">Segments that were there when the store was opened.</param>
/// <param name="Blocks">Blocks found so far.</param>
public readonly record struct StoreScan(int SegmentsLeft, int SegmentsTotal, long Blocks)
{
    /// <summary>Whether everything has been looked at.</summary>
    public bool Done => SegmentsLeft == 0;
}
