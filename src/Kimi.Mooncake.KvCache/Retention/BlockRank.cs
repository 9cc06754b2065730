namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// A block's place in the order of its tenant as one number: expired blocks first, then those without a pin, then soft
/// pins; within them by priority, then by the policy's score.
/// </summary>
internal static class BlockRank
{
    public const int Expired = 0;
    public const int Unpinned = 1;
    public const int SoftPinned = 2;

    private const int ClassShift = 62;
    private const int PriorityShift = 60;

    public static ulong Make(int rankClass, int priority, long score) =>
        ((ulong)rankClass << ClassShift) | ((ulong)priority << PriorityShift) |
        (ulong)Math.Clamp(score, 0, IEvictionPolicy.ScoreEnd - 1);

    public static int ClassOf(ulong rank) => (int)(rank >> ClassShift);
}
