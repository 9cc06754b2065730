using System.Text.Json.Serialization;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>A forward pass over some of a prompt.</summary>
/// <param name="Position">Position of its first token.</param>
/// <param name="Tokens">Its tokens.</param>
/// <param name="Seconds">Duration, the median of the runs.</param>
public sealed record PrefillChunk(int Position, int Tokens, double Seconds);

/// <summary>Prompts computed at once, without a cached prefix.</summary>
/// <param name="Sequences">Prompts.</param>
/// <param name="Tokens">Tokens of each.</param>
/// <param name="TokensPerS">Prompt tokens per second, all sequences together.</param>
/// <param name="Gflops">
/// Useful operations in thousands of millions per second in the median run: two for each multiply-add of linear layers
/// and of visible attention.
/// </param>
/// <param name="Chunks">The forward passes one by one, where there is one sequence; otherwise none.</param>
public sealed record PrefillFigure(
    int Sequences, int Tokens, Spread TokensPerS, double Gflops, IReadOnlyList<PrefillChunk> Chunks);

/// <summary>Sequences that decode at once, a token each in a step.</summary>
/// <param name="Sequences">Sequences.</param>
/// <param name="Depth">Tokens before the first one decoded.</param>
/// <param name="Tokens">Tokens that each decodes in a run.</param>
/// <param name="TokensPerS">Tokens per second, all sequences together.</param>
/// <param name="WeightBytesPerStep">
/// Stored bytes of the tensors that a step multiplies with, each once, on average: of the routed experts those that any
/// of the sequences chose.
/// </param>
/// <param name="KvBytesPerStep">Bytes of KV that a step attends to, on average.</param>
/// <param name="ReadGbPerS">Both per second in the median run, in thousands of millions.</param>
public sealed record DecodeFigure(
    int Sequences,
    int Depth,
    int Tokens,
    Spread TokensPerS,
    long WeightBytesPerStep,
    long KvBytesPerStep,
    double ReadGbPerS);

/// <summary>What <see cref="ModelBench"/> found.</summary>
public sealed record ModelBenchResult
{
    /// <summary>Seconds in which the weights were brought into the kernels' form.</summary>
    public required double PackS { get; init; }

    /// <summary>Tokens of the prompt whose first answer token was waited for.</summary>
    public required int FirstTokenPromptTokens { get; init; }

    /// <summary>Seconds from a prompt to its first answer token.</summary>
    public required Spread FirstTokenS { get; init; }

    /// <summary>Bytes that a token's KV takes in all layers.</summary>
    public required long KvBytesPerToken { get; init; }

    /// <summary>Bytes of the KV pool, whose pages are taken as they are written.</summary>
    public required long KvPoolBytes { get; init; }

    /// <summary>
    /// Memory of the process after all runs, while pool, scratch and weights are still there; null where the system
    /// does not tell.
    /// </summary>
    [JsonIgnore]
    public ResidentMemory? Memory { get; init; }

    /// <summary>Prefill.</summary>
    public required IReadOnlyList<PrefillFigure> Prefill { get; init; }

    /// <summary>Decode.</summary>
    public required IReadOnlyList<DecodeFigure> Decode { get; init; }
}
