namespace Kimi.Mooncake.Host.Client;

/// <summary>One thing that a server says while it answers a streaming request.</summary>
internal abstract record StreamPart;

/// <summary>Part of the prompt is done.</summary>
/// <param name="TotalTokens">Tokens of the prompt.</param>
/// <param name="CachedTokens">Tokens whose prefill was skipped.</param>
/// <param name="ProcessedTokens">Tokens cached or computed so far.</param>
/// <param name="Milliseconds">Time since prefill began.</param>
internal sealed record PrefillPart(int TotalTokens, int CachedTokens, int ProcessedTokens, double Milliseconds)
    : StreamPart;

/// <summary>More of the answer; never empty.</summary>
internal sealed record TextPart(string Text) : StreamPart;

/// <summary>Why the answer ends, in the API's word.</summary>
internal sealed record FinishPart(string Reason) : StreamPart;

/// <summary>What was counted.</summary>
internal sealed record UsagePart(int PromptTokens, int CachedTokens, int CompletionTokens) : StreamPart;
