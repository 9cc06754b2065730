using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Models.Sampling;

/// <summary>
/// What a request changes about the model's logits before anything is drawn: first the repetition penalty over prompt
/// and output, then presence and frequency penalties over the output, then the bias of single tokens.
/// </summary>
internal sealed class LogitPenalties(int vocabularySize)
{
    private readonly float[] _adjusted = new float[vocabularySize];

    // All zero between calls.
    private readonly int[] _counts = new int[vocabularySize];

    /// <summary>The logits after penalties; the given ones where the request has none.</summary>
    /// <param name="logits">The model's logits.</param>
    /// <param name="parameters">The request's wishes.</param>
    /// <param name="tokens">Prompt and output so far.</param>
    /// <param name="promptLength">Tokens of the prompt.</param>
    public ReadOnlySpan<float> Apply(
        ReadOnlySpan<float> logits, SamplingParameters parameters, ReadOnlySpan<int> tokens, int promptLength)
    {
        var repeats = parameters.RepetitionPenalty != 1;
        var penalizes = parameters.PresencePenalty != 0 || parameters.FrequencyPenalty != 0;
        if (!repeats && !penalizes && parameters.LogitBias.Count == 0)
        {
            return logits;
        }

        logits.CopyTo(_adjusted);
        if (repeats || penalizes)
        {
            CheckTokens(tokens);
        }

        if (repeats)
        {
            ApplyRepetition(parameters.RepetitionPenalty, tokens);
        }

        if (penalizes)
        {
            ApplyOccurrence(parameters.PresencePenalty, parameters.FrequencyPenalty, tokens[promptLength..]);
        }

        for (var i = 0; i < parameters.LogitBias.Count; i++)
        {
            var (token, bias) = parameters.LogitBias[i];
            CheckToken(token, nameof(SamplingParameters.LogitBias));
            _adjusted[token] = Finite(_adjusted[token] + bias);
        }

        return _adjusted;
    }

    private void ApplyRepetition(float penalty, ReadOnlySpan<int> tokens)
    {
        foreach (var token in tokens)
        {
            if (_counts[token] == 0)
            {
                _counts[token] = 1;
                var logit = _adjusted[token];
                _adjusted[token] = Finite(logit > 0 ? logit / penalty : logit * penalty);
            }
        }

        foreach (var token in tokens)
        {
            _counts[token] = 0;
        }
    }

    private void ApplyOccurrence(float presence, float frequency, ReadOnlySpan<int> output)
    {
        foreach (var token in output)
        {
            _counts[token]++;
        }

        foreach (var token in output)
        {
            if (_counts[token] > 0)
            {
                _adjusted[token] = Finite(_adjusted[token] - presence - (frequency * _counts[token]));
                _counts[token] = 0;
            }
        }
    }

    private void CheckTokens(ReadOnlySpan<int> tokens)
    {
        foreach (var token in tokens)
        {
            CheckToken(token, nameof(tokens));
        }
    }

    private void CheckToken(int token, string name)
    {
        if ((uint)token >= (uint)_counts.Length)
        {
            throw new ArgumentOutOfRangeException(name, token, $"expected a token id from 0 to {_counts.Length - 1}");
        }
    }

    private static float Finite(float value) => Math.Clamp(value, -float.MaxValue, float.MaxValue);
}
