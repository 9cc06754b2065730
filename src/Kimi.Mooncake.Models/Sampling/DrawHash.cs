namespace Kimi.Mooncake.Models.Sampling;

/// <summary>
/// Random numbers without state: each is a function of a seed and a position, so that a request draws the same numbers
/// in any batch, and again after it was resumed elsewhere.
/// </summary>
internal static class DrawHash
{
    // SplitMix64 (Steele, Lea, Flood 2014): the golden ratio as step, and its finalizer.
    private const ulong Step = 0x9e3779b97f4a7c15;
    private const ulong FirstFactor = 0xbf58476d1ce4e5b9;
    private const ulong SecondFactor = 0x94d049bb133111eb;

    /// <summary>A number from 0 up to but not including 1, in steps of 2^-53.</summary>
    public static double Uniform(ulong seed, int position)
    {
        var bits = Mix(Mix(seed + Step) + (Step * ((ulong)(uint)position + 1)));
        return (bits >> 11) * (1.0 / (1UL << 53));
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * FirstFactor;
        value = (value ^ (value >> 27)) * SecondFactor;
        return value ^ (value >> 31);
    }
}
