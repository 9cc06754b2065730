using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.Contexts;
using Kimi.Mooncake.Tokenization;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>One prompt of a call, before tokenization: either text, token ids, or a conversation.</summary>
internal sealed record PromptInput
{
    public string? Text { get; init; }

    public int[]? Tokens { get; init; }

    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Where beginnings of a conversation end that are to be kept.</summary>
    public IReadOnlyList<PromptBreakpoint> Breakpoints { get; init; } = [];

    /// <summary>The field to name when something is wrong with it.</summary>
    public required string Field { get; init; }
}

/// <summary>A validated request for completions, of either endpoint.</summary>
internal sealed record CompletionCall
{
    public required IReadOnlyList<PromptInput> Prompts { get; init; }

    /// <summary>Token limit that the request gives; null where it gives none.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Field that gave <see cref="MaxTokens"/>.</summary>
    public string MaxTokensField { get; init; } = "max_tokens";

    /// <summary>Sampling without a seed; each choice gets its own.</summary>
    public required SamplingParameters Sampling { get; init; }

    public ulong? Seed { get; init; }

    public IReadOnlyList<string> StopSequences { get; init; } = [];

    public int ChoicesPerPrompt { get; init; } = 1;

    public bool Stream { get; init; }

    public bool IncludeUsage { get; init; }

    public bool ReturnProgress { get; init; }

    public bool IgnoreEos { get; init; }

    public bool Echo { get; init; }

    /// <summary>As the request gives it, and from the caller on the salt that all of it adds up to.</summary>
    public string CacheSalt { get; init; } = "";

    /// <summary>For whom the call is made; empty where the caller does not say.</summary>
    public string Tenant { get; init; } = "";

    /// <summary>The context that the first message stood for; null where it stood for none.</summary>
    public CacheReference? Cache { get; init; }

    /// <summary>The context that is used; null where none is.</summary>
    public UsedContext? Context { get; init; }
}
