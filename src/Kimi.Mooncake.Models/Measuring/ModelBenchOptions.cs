using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Models;

/// <summary>What <see cref="ModelBench"/> measures.</summary>
public sealed record ModelBenchOptions
{
    /// <summary>Most tokens of a prompt or a depth.</summary>
    public const int TokensMax = 1 << 20;

    /// <summary>Most sequences at once.</summary>
    public const int SequencesMax = 64;

    /// <summary>Tokens of the prompts whose prefill is measured; 1 to <see cref="TokensMax"/> each.</summary>
    public IReadOnlyList<int> PrefillTokens { get; init; } = [512, 2048, 8192];

    /// <summary>Tokens before those whose decode is measured; 0 to <see cref="TokensMax"/> each.</summary>
    public IReadOnlyList<int> DecodeDepths { get; init; } = [0, 2048, 4096, 8192];

    /// <summary>Sequences that are computed at once; 1 to <see cref="SequencesMax"/> each.</summary>
    public IReadOnlyList<int> Sequences { get; init; } = [1, 8];

    /// <summary>Tokens that each sequence decodes in a run, at least 1.</summary>
    public int DecodeTokens { get; init; } = 32;

    /// <summary>Tokens of the prompt whose first answer token is waited for, at least 1.</summary>
    public int FirstTokenPromptTokens { get; init; } = 32;

    /// <summary>Runs of each measurement, at least 1.</summary>
    public int Runs { get; init; } = 5;

    /// <summary>Prompt tokens of a forward pass, all sequences together; at least 1.</summary>
    public required int ChunkTokens { get; init; }

    /// <summary>What keys and values are cached as.</summary>
    public KvElementType KvType { get; init; } = KvElementType.F32;

    /// <summary>What the token ids of the prompts are drawn from.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Positions that a sequence has room for.</summary>
    internal int Positions => Math.Max(
        Math.Max(PrefillTokens.DefaultIfEmpty().Max(), FirstTokenPromptTokens),
        DecodeDepths.Count == 0 ? 0 : DecodeDepths.Max() + DecodeTokens);

    /// <summary>Checks the ranges.</summary>
    /// <param name="config">The model, which has so many positions.</param>
    /// <exception cref="ArgumentException">A value is out of range; the message names it.</exception>
    public void Check(KimiConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        CheckAll(PrefillTokens, 1, TokensMax, "tokens of a prefill");
        CheckAll(DecodeDepths, 0, TokensMax, "depth of a decode");
        CheckAll(Sequences, 1, SequencesMax, "sequences at once");
        CheckAll([DecodeTokens], 1, TokensMax, "tokens decoded in a run");
        CheckAll([FirstTokenPromptTokens], 1, TokensMax, "tokens of the prompt whose first token is waited for");
        CheckAll([Runs], 1, 1000, "runs");
        CheckAll([ChunkTokens], 1, TokensMax, "tokens of a forward pass");
        if (Sequences.Count == 0)
        {
            throw new ArgumentException("there are no numbers of sequences; expected at least one");
        }

        if (Positions > config.ContextLength)
        {
            throw new ArgumentException(
                $"a sequence of {Positions} tokens is asked for; the model has {config.ContextLength} positions");
        }
    }

    private static void CheckAll(IReadOnlyList<int> values, int min, int max, string what)
    {
        foreach (var value in values)
        {
            if (value < min || value > max)
            {
                throw new ArgumentException($"{what}: {value}; expected {min} to {max}");
            }
        }
    }
}
