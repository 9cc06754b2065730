namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What became of blocks that were given to a store node.</summary>
/// <param name="Wanted">Blocks that it took.</param>
/// <param name="Stored">Those of them that it stored.</param>
/// <param name="Left">Blocks that it lacks still, for want of room or because another process sends them.</param>
internal readonly record struct PutOutcome(int Wanted, int Stored, int Left)
{
    /// <summary>Whether all blocks are stored there now.</summary>
    public bool IsWhole => Stored >= Wanted && Left == 0;
}
