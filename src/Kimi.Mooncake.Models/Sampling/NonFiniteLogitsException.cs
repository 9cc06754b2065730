namespace Kimi.Mooncake.Models.Sampling;

/// <summary>A model gave a logit that is not a finite number, so that no distribution is defined.</summary>
/// <param name="position">Position of the token that was to be drawn.</param>
/// <param name="token">First token id with such a logit.</param>
/// <param name="value">The logit.</param>
public sealed class NonFiniteLogitsException(int position, int token, float value)
    : Exception($"the logit of token {token} for position {position} is {value}; expected a finite number");
