using Kimi.Mooncake.Core;
using Kimi.Mooncake.Tokenization.Grammars;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Compiled constraints by what they say, those used last. Safe for concurrent use; what it gives is used by the
/// engine's thread only.
/// </summary>
/// <param name="vocabulary">The model's tokens; null where the worker was made without.</param>
/// <param name="vocabularySize">Number of the model's token ids.</param>
/// <param name="options">Bounds.</param>
internal sealed class OutputGrammars(
    Lazy<ConstraintVocabulary>? vocabulary, int vocabularySize, WorkerOptions options)
{
    private readonly KnownConstraints<OutputGrammar> _grammars = new(options.ConstraintsKeptMax);

    /// <summary>How many are kept.</summary>
    public int Count => _grammars.Count;

    /// <summary>Prepares the answer of a request; null where it has no constraint.</summary>
    /// <exception cref="SchemaException">Something in it is not supported or contradicts itself.</exception>
    /// <exception cref="ArgumentException">The model cannot follow it, or no token can end the answer.</exception>
    /// <exception cref="InvalidOperationException">The worker has no vocabulary to follow it with.</exception>
    public ConstrainedAnswer? Prepare(GenerationRequest request)
    {
        if (request.Constraint is not { } constraint)
        {
            return null;
        }

        if (vocabulary is null)
        {
            throw new InvalidOperationException(
                "this worker has no vocabulary, without which no answer is constrained");
        }

        var tokens = vocabulary.Value;
        if (tokens.Count > vocabularySize)
        {
            throw new InvalidOperationException(
                $"the vocabulary has {tokens.Count} tokens, the model only {vocabularySize}");
        }

        if (!request.StopTokens.Any(token => token < tokens.Count))
        {
            throw new ArgumentException(
                $"stop_tokens: none below {tokens.Count}; a constrained answer needs one to end with", nameof(request));
        }

        var grammar = _grammars.Find(
            constraint, asked => OutputGrammar.Compile(asked, tokens, options.ConstraintCacheBytes));
        return new ConstrainedAnswer(grammar, constraint, request);
    }
}
