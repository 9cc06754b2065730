namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// Scores that depend on the distance between query and key only. Every key has the same rotary part, so a query's
/// rotary part alone makes the score <c>sum over pairs of strength * cos(frequency * (distance - center))</c> nats.
/// </summary>
internal static class PositionKernel
{
    /// <summary>Value of the first half of every rotated pair of a key.</summary>
    public const double KeyLevel = 4;

    /// <summary>Share that the calibration head gives to its own position; the rest goes to the one before.</summary>
    public const double CalibrationShare = 0.75;

    private const int CalibrationSteps = 60;

    /// <summary>Radians per position of each pair.</summary>
    public static double[] Frequencies { get; } = NeedleShape.Config.RopeFrequencies();

    /// <summary>Picks one distance: every other one scores at least 23 nats less, up to 262,143.</summary>
    public static double[] Shift { get; } = [44, 32, 22, 16, 14, 14, 14, 14, 14, 14, 4, 4, 0, 0, 0, 0];

    /// <summary>Prefers the more recent of equal matches.</summary>
    public static double[] Recency { get; } = [0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 0, 6, 50, 100, 200, 200];

    /// <summary>Added to <see cref="Recency"/> while a message start is inside the window.</summary>
    public static double[] CutRecency { get; } = [0, 0, 0, 0, 0, 12, 22, 22, 16, 12, 0, 0, 0, 0, 0, 0];

    /// <summary>
    /// Used while a message start is at most nine symbols back. With <see cref="AnswerCenter"/> one slow pair rises
    /// almost linearly towards recent positions.
    /// </summary>
    public static double[] AnswerRecency { get; } = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2000, 0, 0, 0, 0];

    public static double AnswerCenter => -Math.PI / 2 / Frequencies[11];

    /// <summary>Splits attention between a position and the one before it.</summary>
    public static double[] Calibration { get; } = [.. Shift.Select(strength => 0.45 * strength)];

    /// <summary>The center at which <see cref="Calibration"/> gives <see cref="CalibrationShare"/>.</summary>
    public static double CalibrationCenter { get; } = FindCalibrationCenter();

    /// <summary>A query's rotary part for a kernel, before its position turns it.</summary>
    public static double[] Query(double[] strengths, double center)
    {
        var query = new double[NeedleShape.Rope];
        for (var i = 0; i < strengths.Length; i++)
        {
            var angle = Frequencies[i] * center;
            query[2 * i] = strengths[i] * Math.Cos(angle) / (NeedleShape.AttentionScale * KeyLevel);
            query[(2 * i) + 1] = -strengths[i] * Math.Sin(angle) / (NeedleShape.AttentionScale * KeyLevel);
        }

        return query;
    }

    private static double FindCalibrationCenter()
    {
        var target = Math.Log(CalibrationShare / (1 - CalibrationShare));
        var (low, high) = (0.0, 1.0);
        for (var step = 0; step < CalibrationSteps; step++)
        {
            var center = (low + high) / 2;
            var advantage = Calibration.Zip(Frequencies, (strength, frequency) =>
                strength * (Math.Cos(frequency * center) - Math.Cos(frequency * (1 - center)))).Sum();
            (low, high) = advantage > target ? (center, high) : (low, center);
        }

        return low;
    }
}
