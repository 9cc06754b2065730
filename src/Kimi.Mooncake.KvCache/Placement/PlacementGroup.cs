using System.Numerics;

namespace Kimi.Mooncake.KvCache.Placement;

/// <summary>
/// Runs of a prompt's blocks that are kept together, so that a lost store node cuts few prefixes: blocks 0 to 7, 8 to
/// 15, 16 to 31, 32 to 63, and 64 each from there on. The key of a group's first block says where the group is kept.
/// </summary>
/// <remarks>
/// Short groups come first because prompts that begin alike share the first key of the group in which they part, and
/// with it the place of what follows there: that is never more than the blocks that they share, or 7, or 63.
/// </remarks>
public static class PlacementGroup
{
    /// <summary>Blocks of the first group.</summary>
    public const int BlocksMin = 8;

    /// <summary>Most blocks of a group.</summary>
    public const int BlocksMax = 64;

    /// <summary>Index of the first block of a block's group.</summary>
    /// <param name="index">Index of the block in its prompt, from 0.</param>
    public static int FirstOf(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        return index switch
        {
            < BlocksMin => 0,
            < BlocksMax => 1 << BitOperations.Log2((uint)index),
            _ => index - (index % BlocksMax),
        };
    }

    /// <summary>Index after the last block of a block's group, in a prompt that is long enough.</summary>
    /// <param name="index">Index of the block in its prompt, from 0.</param>
    public static int EndOf(int index) => FirstOf(index) switch
    {
        0 => BlocksMin,
        >= BlocksMax and var first => first + BlocksMax,
        var first => first * 2,
    };
}
