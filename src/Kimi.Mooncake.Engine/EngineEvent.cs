using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>What an <see cref="EngineEvent"/> tells.</summary>
public enum EngineEventKind
{
    /// <summary>
    /// Of a <see cref="SequenceMode.PrefillOnly"/> sequence: its prefill begins, and its blocks stay held until
    /// <see cref="EngineCore.ReleaseExport"/>. <see cref="EngineEvent.CachedTokens"/> are there from the start.
    /// </summary>
    Admitted,

    /// <summary>
    /// Of a <see cref="SequenceMode.DecodeOnly"/> sequence: its blocks are reserved, and it waits for
    /// <see cref="EngineCore.CompleteImport"/> or <see cref="EngineCore.FailImport"/>. The blocks of the first
    /// <see cref="EngineEvent.CachedTokens"/> are there and shared: they must not be written.
    /// </summary>
    Reserved,

    /// <summary>Some of the prompt is there; only for requests that asked for progress.</summary>
    PrefillProgressed,

    /// <summary>The whole prompt is there; once for each sequence.</summary>
    PrefillFinished,

    /// <summary>A token was generated.</summary>
    TokenGenerated,

    /// <summary>The sequence ended; its last event.</summary>
    Finished,
}

/// <summary>
/// Something that happened to a sequence. The order is that of <see cref="GenerationEvent"/>. A value, so that the
/// engine can tell of tokens without allocating.
/// </summary>
/// <param name="Kind">Which of the values below mean something.</param>
/// <param name="SequenceId">Whose event.</param>
public readonly record struct EngineEvent(EngineEventKind Kind, long SequenceId)
{
    /// <summary>Tokens of the prompt; with the first four kinds.</summary>
    public int PromptTokens { get; init; }

    /// <summary>Prompt tokens whose prefill was skipped; with the first four kinds.</summary>
    public int CachedTokens { get; init; }

    /// <summary>Prompt tokens that are there; with the first four kinds.</summary>
    public int ProcessedTokens { get; init; }

    /// <summary>The token; with <see cref="EngineEventKind.TokenGenerated"/>.</summary>
    public SampledToken Token { get; init; }

    /// <summary>Why the sequence ended; with <see cref="EngineEventKind.Finished"/>.</summary>
    public FinishReason Reason { get; init; }

    /// <summary>What went wrong, with <see cref="FinishReason.Failed"/>; otherwise null.</summary>
    public string? Message { get; init; }

    /// <summary>The same event as the worker's callers see it; allocates.</summary>
    /// <exception cref="InvalidOperationException">The event is for the worker itself.</exception>
    public GenerationEvent ToGenerationEvent() => Kind switch
    {
        EngineEventKind.PrefillProgressed => new PrefillProgressed(PromptTokens, CachedTokens, ProcessedTokens),
        EngineEventKind.PrefillFinished => new PrefillFinished(PromptTokens, CachedTokens),
        EngineEventKind.TokenGenerated => new TokenGenerated(Token.TokenId, Token.Logprob, Token.TopLogprobs ?? []),
        EngineEventKind.Finished => new GenerationFinished(Reason, Message),
        _ => throw new InvalidOperationException($"a request's caller is not told of {Kind}"),
    };
}
