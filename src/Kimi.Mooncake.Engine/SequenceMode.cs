using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>Which part of a request this engine does.</summary>
public enum SequenceMode
{
    /// <summary>All of it.</summary>
    Whole,

    /// <summary>
    /// Computes the prompt and draws the first token, whatever more the request asks for. The blocks stay held until
    /// <see cref="EngineCore.ReleaseExport"/>, so that another worker can be sent their content.
    /// </summary>
    PrefillOnly,

    /// <summary>
    /// Reserves blocks for the prompt, waits until another worker has filled them, and generates from there.
    /// </summary>
    DecodeOnly,
}

/// <summary>What another worker says of the prompt whose blocks it has filled.</summary>
/// <param name="CachedTokens">Prompt tokens whose prefill was skipped there.</param>
/// <param name="FirstToken">The token after the prompt; null when the draw ended the generation.</param>
/// <param name="Finished">
/// <see cref="FinishReason.Stop"/> or <see cref="FinishReason.Length"/> when the first draw ended the generation.
/// </param>
public readonly record struct ImportedPrefill(int CachedTokens, SampledToken? FirstToken, FinishReason? Finished);
