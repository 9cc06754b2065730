namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// The matrices of a gated network <c>down(silu(gate x) * (up x))</c>, built unit by unit. A unit whose gate is
/// <see cref="NeedleShape.OpenGate"/> is linear; one whose gate is its negative is shut.
/// </summary>
internal sealed class FeedForwardWeights(NormInput input, int width)
{
    public SparseMatrix Gate { get; } = new(width, NeedleShape.Hidden);

    public SparseMatrix Up { get; } = new(width, NeedleShape.Hidden);

    public SparseMatrix Down { get; } = new(NeedleShape.Hidden, width);

    /// <summary>Opens a unit for every token.</summary>
    public void Open(int unit) => Gate[unit, Slot.Constant] = input.Constant(NeedleShape.OpenGate);

    /// <summary>Opens a unit for tokens at which none of these flags is set.</summary>
    public void OpenUnless(int unit, ReadOnlySpan<int> flags)
    {
        Open(unit);
        foreach (var flag in flags)
        {
            Gate[unit, flag] = -2 * NeedleShape.OpenGate * input[flag];
        }
    }

    /// <summary>A unit that adds an amplitude to a slot iff the sum of some slots exceeds a threshold.</summary>
    public void AddThreshold(int unit, ReadOnlySpan<int> features, double threshold, int slot, double amplitude)
    {
        Gate[unit, Slot.Constant] = input.Constant(-2 * NeedleShape.OpenGate * threshold);
        Up[unit, Slot.Constant] = input.Constant(1);
        Down[slot, unit] = amplitude / NeedleShape.OpenGain;
        foreach (var feature in features)
        {
            Gate[unit, feature] += 2 * NeedleShape.OpenGate * input[feature];
        }
    }

    /// <summary>Makes a unit's input a slot, times a factor.</summary>
    public void Read(int unit, int slot, double factor = 1) => Up[unit, slot] = input[slot] * factor;

    /// <summary>Makes a unit's input one.</summary>
    public void ReadUnit(int unit) => Up[unit, Slot.Constant] = input[Slot.Constant] / NeedleShape.ConstantLevel;

    /// <summary>Adds an open unit's input to a slot.</summary>
    public void Write(int unit, int slot) => Down[slot, unit] = 1 / NeedleShape.OpenGain;
}
