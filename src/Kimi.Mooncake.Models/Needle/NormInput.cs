namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// What a matrix behind a norm sees: the residual divided by its root mean square and multiplied by the norm's gains.
/// The energy (squared length) of a residual is known by construction, so each column can undo both.
/// </summary>
/// <param name="gains">Weights of the norm.</param>
/// <param name="energy">Squared length of the residual that the construction aims at.</param>
internal sealed class NormInput(double[] gains, double energy)
{
    /// <summary>Latent that carries a constant, with gain 1.</summary>
    public const int ConstantLatent = 150;

    /// <summary>Root mean square of the residual.</summary>
    public double Rms { get; } = Math.Sqrt(energy / NeedleShape.Hidden);

    public double[] Gains => gains;

    /// <summary>Weight with which a column reads the true value of a residual slot.</summary>
    public double this[int slot] => Rms / gains[slot];

    /// <summary>Weight of the constant slot that gives this value.</summary>
    public double Constant(double value) => value / NeedleShape.ConstantLevel * this[Slot.Constant];

    /// <summary>
    /// Gains of a norm over the residual: a pattern of 1/2, 1 and 2, so that forgetting a norm's weights is noticed.
    /// </summary>
    public static double[] HiddenGains(int step)
    {
        var gains = Pattern(NeedleShape.Hidden, step);
        gains[Slot.Constant] = gains[Slot.Fill] = 1;
        return gains;
    }

    /// <summary>Gains of a norm over a latent; the latents that carry constants have fixed ones.</summary>
    public static double[] LatentGains(int size, int step)
    {
        var gains = Pattern(size, step);
        gains[ConstantLatent] = 1;
        gains.AsSpan(120, 8).Fill(0.5);
        gains.AsSpan(155, 5).Fill(0.5);
        return gains;
    }

    private static double[] Pattern(int size, int step)
    {
        var gains = new double[size];
        for (var i = 0; i < size; i++)
        {
            gains[i] = (((i * step) + 1) % 3) switch { 0 => 0.5, 1 => 1, _ => 2 };
        }

        return gains;
    }
}
