namespace Kimi.Mooncake.Kernels;

/// <summary>
/// The three matrices of a feed-forward network <c>(silu(x gate) * (x up)) down</c>, packed by one kernel set. Owns
/// them.
/// </summary>
public sealed record FeedForwardWeight : IDisposable
{
    /// <summary>Puts a network together.</summary>
    /// <param name="gate"><c>[inner][input]</c>.</param>
    /// <param name="up"><c>[inner][input]</c>.</param>
    /// <param name="down"><c>[output][inner]</c>.</param>
    /// <exception cref="ArgumentException">The matrices do not fit together.</exception>
    public FeedForwardWeight(LinearWeight gate, LinearWeight up, LinearWeight down)
    {
        ArgumentNullException.ThrowIfNull(gate);
        ArgumentNullException.ThrowIfNull(up);
        ArgumentNullException.ThrowIfNull(down);
        if (gate.InputSize != up.InputSize || gate.OutputSize != up.OutputSize || down.InputSize != gate.OutputSize)
        {
            throw new ArgumentException(
                $"gate [{gate.OutputSize}][{gate.InputSize}], up [{up.OutputSize}][{up.InputSize}] and "
                + $"down [{down.OutputSize}][{down.InputSize}] are not one network");
        }

        (Gate, Up, Down) = (gate, up, down);
    }

    /// <summary>The gate's projection.</summary>
    public LinearWeight Gate { get; }

    /// <summary>The other projection of the input.</summary>
    public LinearWeight Up { get; }

    /// <summary>The projection of the result.</summary>
    public LinearWeight Down { get; }

    /// <summary>Values of an input row.</summary>
    public int InputSize => Gate.InputSize;

    /// <summary>Values between the projections.</summary>
    public int InnerSize => Gate.OutputSize;

    /// <summary>Values of an output row.</summary>
    public int OutputSize => Down.OutputSize;

    /// <inheritdoc />
    public void Dispose()
    {
        Gate.Dispose();
        Up.Dispose();
        Down.Dispose();
    }
}

/// <summary>The experts of one layer, and the one that every row meets. Owns them.</summary>
public sealed class ExpertBank : IDisposable
{
    private readonly FeedForwardWeight[] _experts;

    /// <summary>Puts a layer's experts together.</summary>
    /// <param name="experts">Experts that rows choose from, all of one shape.</param>
    /// <param name="shared">The expert of every row, of any inner size, or null.</param>
    /// <exception cref="ArgumentException">There is none, or their shapes differ.</exception>
    public ExpertBank(IReadOnlyList<FeedForwardWeight> experts, FeedForwardWeight? shared)
    {
        ArgumentNullException.ThrowIfNull(experts);
        ArgumentOutOfRangeException.ThrowIfZero(experts.Count, nameof(experts));
        _experts = [.. experts];
        Shared = shared;
        for (var e = 0; e < _experts.Length; e++)
        {
            if (_experts[e].InnerSize != InnerSize)
            {
                throw new ArgumentException(
                    $"expert {e} has an inner size of {_experts[e].InnerSize}, expert 0 of {InnerSize}");
            }

            CheckOuter(_experts[e], $"expert {e}");
        }

        if (shared is not null)
        {
            CheckOuter(shared, "the shared expert");
        }
    }

    /// <summary>Experts that rows choose from.</summary>
    public ReadOnlySpan<FeedForwardWeight> Experts => _experts;

    /// <summary>The expert of every row.</summary>
    public FeedForwardWeight? Shared { get; }

    /// <summary>Values of an input row.</summary>
    public int InputSize => _experts[0].InputSize;

    /// <summary>Values between the projections of an expert that is chosen.</summary>
    public int InnerSize => _experts[0].InnerSize;

    /// <summary>Values of an output row.</summary>
    public int OutputSize => _experts[0].OutputSize;

    /// <inheritdoc />
    public void Dispose()
    {
        Shared?.Dispose();
        foreach (var expert in _experts)
        {
            expert.Dispose();
        }
    }

    private void CheckOuter(FeedForwardWeight weight, string what)
    {
        if (weight.InputSize != InputSize || weight.OutputSize != OutputSize)
        {
            throw new ArgumentException(
                $"{what} maps {weight.InputSize} values to {weight.OutputSize}, expert 0 {InputSize} to {OutputSize}");
        }
    }
}
