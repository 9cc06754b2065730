using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>How the rows of a slice are computed.</summary>
public enum SliceKind
{
    /// <summary>Prompt tokens, expanded attention but for <see cref="StepSlice.AbsorbedRows"/>.</summary>
    Prefill,

    /// <summary>One generated token, absorbed attention.</summary>
    Decode,
}

/// <summary>A run of tokens of one sequence that a step computes.</summary>
/// <param name="Sequence">Whose tokens; its block table covers them all.</param>
/// <param name="Start">Position of the first token.</param>
/// <param name="Count">Tokens; 1 for <see cref="SliceKind.Decode"/>.</param>
/// <param name="Kind">How the rows are computed.</param>
/// <param name="Sample">Whether the token after the last one of the slice is drawn.</param>
public readonly record struct StepSlice(Sequence Sequence, int Start, int Count, SliceKind Kind, bool Sample)
{
    /// <summary>
    /// Last tokens of a <see cref="SliceKind.Prefill"/> slice that take absorbed attention as generated tokens do. They
    /// lie in the prompt's last block when it is not full: no other sequence shares their values, and with a long
    /// context before them a few rows are far cheaper so.
    /// </summary>
    public int AbsorbedRows { get; init; }
}

/// <summary>What one step computes: slices of different sequences, no sequence twice.</summary>
public sealed class StepPlan
{
    private StepSlice[] _slices = new StepSlice[16];

    /// <summary>Number of slices.</summary>
    public int Count { get; private set; }

    /// <summary>The slices; valid until the plan is changed.</summary>
    public ReadOnlySpan<StepSlice> Slices => _slices.AsSpan(0, Count);

    /// <summary>Forgets all slices, and the sequences with them.</summary>
    public void Clear()
    {
        Array.Clear(_slices, 0, Count);
        Count = 0;
    }

    /// <summary>Adds a slice.</summary>
    public void Add(in StepSlice slice)
    {
        if (Count == _slices.Length)
        {
            Array.Resize(ref _slices, Count * 2);
        }

        _slices[Count++] = slice;
    }
}

/// <summary>What a step drew, one entry for each slice of its plan.</summary>
public sealed class StepResult
{
    private SampledToken[] _tokens = new SampledToken[16];

    /// <summary>Entries, in the plan's order; an entry is meaningful only where the slice asked for a sample.</summary>
    public ReadOnlySpan<SampledToken> Tokens => _tokens.AsSpan(0, Count);

    /// <summary>Number of entries.</summary>
    public int Count { get; private set; }

    /// <summary>Makes room for <paramref name="count"/> entries and clears them.</summary>
    public Span<SampledToken> Reset(int count)
    {
        if (count > _tokens.Length)
        {
            _tokens = new SampledToken[Math.Max(count, _tokens.Length * 2)];
        }

        Count = count;
        var span = _tokens.AsSpan(0, count);
        span.Clear();
        return span;
    }
}

/// <summary>A drawn token.</summary>
/// <param name="TokenId">The token.</param>
/// <param name="Logprob">Natural logarithm of its probability; 0 unless the request asked for it.</param>
/// <param name="TopLogprobs">Most likely tokens, best first; null unless the request asked for them.</param>
public readonly record struct SampledToken(int TokenId, float Logprob, TokenLogprob[]? TopLogprobs)
{
    /// <summary>Why no token could be drawn, which ends this sequence and no other; null where one was.</summary>
    public string? Failure { get; init; }
}

/// <summary>
/// Computes steps: writes the KV of each slice's tokens into the slice's blocks, attends over all earlier positions of
/// the sequence, and draws tokens. Called by one thread at a time. A row's result depends on its sequence's tokens
/// only.
/// </summary>
public interface IModelRunner
{
    /// <summary>
    /// Computes a step; returns when all its KV is written and all its tokens are drawn. An exception ends every
    /// sequence of the plan; what concerns one sequence only is told in <see cref="SampledToken.Failure"/>.
    /// </summary>
    void Execute(StepPlan plan, StepResult result);
}
