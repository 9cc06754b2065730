using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

internal enum SequenceState
{
    Waiting,
    Loading,
    Importing,
    SwappingOut,
    SwappingIn,
    Prefill,
    Decode,
    Exporting,
    Settling,
    Ended,
}

/// <summary>One prompt on its way through the engine, and the tokens generated after it.</summary>
public sealed class Sequence
{
    private int[] _tokens;

    internal Sequence(
        long id,
        GenerationRequest request,
        Tenant tenant,
        SequenceMode mode,
        BlockKey root,
        int blockTokens,
        TimeSpan submitted,
        CancellationToken cancellation)
    {
        Cancellation = cancellation;
        Id = id;
        Tenant = tenant;
        Mode = mode;
        // The token that a prefill worker draws is compared, where the decode worker has one from before.
        var draws = mode == SequenceMode.PrefillOnly;
        _tokens = draws ? [.. request.PromptTokens] : [.. request.PromptTokens, .. request.GeneratedTokens];
        TokenCount = _tokens.Length;
        PromptLength = request.PromptTokens.Count;
        MaxNewTokens = draws ? 1 : request.MaxNewTokens;
        Sampling = request.Sampling;
        StopTokens = [.. request.StopTokens];
        ReportProgress = request.ReportProgress;
        Submitted = submitted;
        Attributes = new PromptAttributes(tenant.Attributes, request.Retain, PromptLength, blockTokens);
        Keys = new BlockKeyChain(root, blockTokens);
        Keys.Extend(Tokens[..PromptLength]);
    }

    /// <summary>Names the sequence; later sequences have greater ids.</summary>
    public long Id { get; }

    /// <summary>Prompt, then generated tokens; valid until the next token is added.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, TokenCount);

    /// <summary>Tokens of prompt and output so far.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength { get; }

    /// <summary>Which part of its request is done here.</summary>
    public SequenceMode Mode { get; }

    /// <summary>Most tokens to generate here.</summary>
    public int MaxNewTokens { get; }

    /// <summary>How tokens are drawn.</summary>
    public SamplingParameters Sampling { get; }

    /// <summary>The pool blocks of the sequence, in order; they cover every token of a planned slice.</summary>
    public ReadOnlySpan<int> BlockIds => Blocks.BlockIds;

    /// <summary>
    /// Set when nobody waits for the sequence any more. A runner may then leave the sequence's slices uncomputed: the
    /// engine ends the sequence after the step and publishes nothing of it.
    /// </summary>
    public CancellationToken Cancellation { get; internal set; }

    internal Tenant Tenant { get; }

    internal int[] StopTokens { get; }

    internal bool ReportProgress { get; }

    internal TimeSpan Submitted { get; }

    internal BlockKeyChain Keys { get; }

    internal PromptAttributes Attributes { get; }

    internal BlockTable Blocks { get; } = new();

    /// <summary>
    /// Blocks of an export that others of the same content have replaced in <see cref="Blocks"/>; a transfer may
    /// still read them.
    /// </summary>
    internal BlockTable Replaced { get; } = new();

    /// <summary>Leading blocks of the sequence that are nodes of the prefix tree.</summary>
    internal int PublishedBlocks { get; set; }

    internal SequenceState State { get; set; } = SequenceState.Waiting;

    /// <summary>Positions whose KV is in the blocks.</summary>
    internal int ComputedTokens { get; set; }

    /// <summary>
    /// Prompt tokens that were never computed for this sequence: the least over its admissions; -1 before the first.
    /// </summary>
    internal int CachedTokens { get; set; } = -1;

    /// <summary>Whether it had blocks before. When it waits, it has lost them.</summary>
    internal bool WasAdmitted { get; set; }

    /// <summary>When it last got its blocks.</summary>
    internal TimeSpan Admitted { get; set; }

    /// <summary>Leading positions whose KV was put aside, but for full blocks of the prompt; 0 when none.</summary>
    internal int SwappedTokens { get; set; }

    internal bool PrefillReported { get; set; }

    internal bool Cancelled { get; set; }

    /// <summary>While waiting for a block that another sequence makes, the index of its key; otherwise -1.</summary>
    internal int AwaitedBlock { get; set; } = -1;

    /// <summary>Leading blocks of the prompt that were there or being made when it was last looked at.</summary>
    internal int ExpectedBlocks { get; set; }

    internal int GeneratedCount => TokenCount - PromptLength;

    /// <summary>Whether another worker is to compute its prompt: once, and not again after a preemption.</summary>
    internal bool WantsImport => Mode == SequenceMode.DecodeOnly && !PrefillReported;

    /// <summary>Whether another worker may be reading its blocks.</summary>
    internal bool IsExported => Mode == SequenceMode.PrefillOnly && CachedTokens >= 0;

    internal void EnsureCapacity(int blockTokens)
    {
        // At admission, not at submission: a full waiting queue then costs its prompts only.
        var tokens = PromptLength + MaxNewTokens;
        if (_tokens.Length < tokens)
        {
            Array.Resize(ref _tokens, tokens);
        }

        Blocks.EnsureCapacity((tokens + blockTokens - 1) / blockTokens);
    }

    internal void Append(int token) => _tokens[TokenCount++] = token;

    internal bool IsStop(int token) => StopTokens.AsSpan().Contains(token);
}
