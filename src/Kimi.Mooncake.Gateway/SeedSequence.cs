namespace Kimi.Mooncake.Gateway;

/// <summary>
/// Seeds for requests that bring none: SplitMix64 (Steele, Lea, Flood 2014), whose state advances by a constant and so
/// needs no lock.
/// </summary>
/// <param name="start">The same start gives the same seeds.</param>
internal sealed class SeedSequence(ulong start)
{
    private ulong _state = start;

    public ulong Next()
    {
        var z = Interlocked.Add(ref _state, 0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return z ^ (z >> 31);
    }
}
