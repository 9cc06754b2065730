namespace Kimi.Mooncake.Store;

/// <summary>How far a compaction is.</summary>
/// <param name="Segments">Segments whose blocks were moved.</param>
/// <param name="BytesBefore">Bytes of the segment files when it began.</param>
/// <param name="BytesNow">Bytes of the segment files now.</param>
public sealed record StoreCompaction(int Segments, long BytesBefore, long BytesNow);
