namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// Squared length of the residual before each part of the network. A copied code adds twice the square of its
/// amplitude, a copied flag the square.
/// </summary>
internal static class NeedleEnergy
{
    private const double CopiedCode = 2 * NeedleShape.CopyAmplitude * NeedleShape.CopyAmplitude;

    public const double Attention0 = NeedleShape.EmbeddingEnergy;
    public const double FeedForward0 = Attention0 + (4 * CopiedCode);
    public const double Attention1 = FeedForward0 + (4 * CopiedCode);
    public const double FeedForward1 = Attention1 + (20 * CopiedCode);

    public static double Attention2 { get; } =
        FeedForward1 + (2 * ExpertWeights.ClassWeight * ExpertWeights.ClassWeight) + (20 * CopiedCode);

    /// <summary>Payload, class and calibration code (split 0.75 to 0.25 between two codes) are copied.</summary>
    public static double FeedForward2 { get; } = Attention2 + (2 * 1) + 1 + (1.25 * 2);

    public static double Head { get; } =
        FeedForward2 + (2 * ExpertWeights.ClassWeight * ExpertWeights.ClassWeight);
}
