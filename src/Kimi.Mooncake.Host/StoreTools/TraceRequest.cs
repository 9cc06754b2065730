namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>One request of a trace.</summary>
/// <param name="TimestampMs">When it came, from the start of the trace.</param>
/// <param name="InputTokens">Tokens of its prompt.</param>
/// <param name="Blocks">
/// Numbers of the prompt's blocks; equal numbers stand for equal tokens after equal prefixes. The last may be part of a
/// block.
/// </param>
internal sealed record TraceRequest(long TimestampMs, int InputTokens, IReadOnlyList<long> Blocks);
