using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

internal enum SequenceState
{
    Waiting,
    Loading,
    Prefill,
    Decode,
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
        BlockKey root,
        int blockTokens,
        TimeSpan submitted,
        CancellationToken cancellation)
    {
        Cancellation = cancellation;
        Id = id;
        _tokens = [.. request.PromptTokens];
        TokenCount = _tokens.Length;
        PromptLength = _tokens.Length;
        MaxNewTokens = request.MaxNewTokens;
        Sampling = request.Sampling;
        StopTokens = [.. request.StopTokens];
        ReportProgress = request.ReportProgress;
        Submitted = submitted;
        Keys = new BlockKeyChain(root, blockTokens);
        Keys.Extend(_tokens);
    }

    /// <summary>Names the sequence; later sequences have greater ids.</summary>
    public long Id { get; }

    /// <summary>Prompt, then generated tokens; valid until the next token is added.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, TokenCount);

    /// <summary>Tokens of prompt and output so far.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength { get; }

    /// <summary>Most tokens to generate.</summary>
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

    internal int[] StopTokens { get; }

    internal bool ReportProgress { get; }

    internal TimeSpan Submitted { get; }

    internal BlockKeyChain Keys { get; }

    internal BlockTable Blocks { get; } = new();

    /// <summary>Leading blocks of the sequence that are nodes of the prefix tree.</summary>
    internal int PublishedBlocks { get; set; }

    internal SequenceState State { get; set; } = SequenceState.Waiting;

    /// <summary>Positions whose KV is in the blocks.</summary>
    internal int ComputedTokens { get; set; }

    /// <summary>
    /// Prompt tokens that were never computed for this sequence: the least over its admissions; -1 before the first.
    /// </summary>
    internal int CachedTokens { get; set; } = -1;

    internal bool WasAdmitted => CachedTokens >= 0;

    internal bool PrefillReported { get; set; }

    internal bool Cancelled { get; set; }

    /// <summary>While waiting for a block that another sequence makes, the index of its key; otherwise -1.</summary>
    internal int AwaitedBlock { get; set; } = -1;

    internal int GeneratedCount => TokenCount - PromptLength;

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
