namespace Kimi.Mooncake.Core;

/// <summary>
/// How the next token is drawn. The order of the steps: penalties, temperature, top-k, top-p, min-p, draw.
/// A temperature of zero takes the most likely token (the lowest id among equals).
/// </summary>
public sealed record SamplingParameters
{
    /// <summary>Most alternatives that can be reported for a token.</summary>
    public const int TopLogprobsMax = 20;

    /// <summary>Greatest temperature accepted.</summary>
    public const float TemperatureMax = 2f;

    /// <summary>Greedy decoding.</summary>
    public static SamplingParameters Greedy { get; } = new() { Temperature = 0 };

    /// <summary>Divides the logits; 0 is greedy. 0 to 2.</summary>
    public float Temperature { get; init; } = 1f;

    /// <summary>Keeps the smallest set of tokens whose probability reaches this. Above 0, up to 1.</summary>
    public float TopP { get; init; } = 1f;

    /// <summary>Keeps this many most likely tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps tokens at least this likely relative to the most likely one. 0 to 1.</summary>
    public float MinP { get; init; }

    /// <summary>Subtracted once from the logit of each token already generated. -2 to 2.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Subtracted per occurrence from the logit of each token already generated. -2 to 2.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>
    /// Divides positive logits and multiplies negative ones of tokens in prompt or output; 1 is off. Above 0, up to 10.
    /// </summary>
    public float RepetitionPenalty { get; init; } = 1f;

    /// <summary>Added to the logits of these token ids, -100 to 100 each.</summary>
    public IReadOnlyList<KeyValuePair<int, float>> LogitBias { get; init; } = [];

    /// <summary>
    /// Same seed, same prompt, same output, whatever else runs in the batch: the draw at a position depends on the seed
    /// and that position only.
    /// </summary>
    public ulong Seed { get; init; }

    /// <summary>Whether log-probabilities of the chosen tokens are reported.</summary>
    public bool Logprobs { get; init; }

    /// <summary>Alternatives reported for each token, 0 to <see cref="TopLogprobsMax"/>.</summary>
    public int TopLogprobs { get; init; }
}

/// <summary>A token and the natural logarithm of its probability under the model's unmodified distribution.</summary>
/// <param name="TokenId">The token.</param>
/// <param name="Logprob">Natural logarithm of its probability.</param>
public readonly record struct TokenLogprob(int TokenId, float Logprob);

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>The model produced a stop token, or the text met a stop sequence.</summary>
    Stop,

    /// <summary>The token limit of the request or of the context was reached.</summary>
    Length,

    /// <summary>The caller went away.</summary>
    Cancelled,

    /// <summary>The worker could not go on; the message says why.</summary>
    Failed,
}
