using Kimi.Mooncake.Host.Bench;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>One kill and what was found after it.</summary>
/// <param name="Kill">Number of the kill, from 1.</param>
/// <param name="AfterMs">When it came, after the process began to work.</param>
/// <param name="RestartMs">Time to open the store and have an answer from it.</param>
/// <param name="ScanMs">Time until everything on disk was looked at.</param>
/// <param name="Expected">Objects that had to be there.</param>
/// <param name="Found">Objects that were there.</param>
/// <param name="Lost">Objects that had to be there and were not.</param>
/// <param name="CameBack">Objects that had been removed and were there again.</param>
/// <param name="Wrong">Objects that were read with other bytes than were put, here or by the killed process.</param>
/// <param name="Examples">Numbers of some that were lost or came back.</param>
/// <param name="DiskBytes">Bytes of the store's files.</param>
internal sealed record CrashRound(
    int Kill, int AfterMs, double RestartMs, double ScanMs, int Expected, int Found, int Lost, int CameBack, int Wrong,
    IReadOnlyList<long> Examples, long DiskBytes);

/// <summary>What <c>mooncake store crash</c> found.</summary>
internal sealed record CrashReport
{
    public required int Seed { get; init; }

    public required string Directory { get; init; }

    /// <summary>Objects younger than this at the kill may be lost.</summary>
    public required int LossMs { get; init; }

    /// <summary>Longest time in which the store must answer again.</summary>
    public required int RestartMsMax { get; init; }

    public required IReadOnlyList<CrashRound> Rounds { get; init; }

    public int Kills => Rounds.Count;

    public long Expected => Rounds.Sum(static round => (long)round.Expected);

    public int Lost => Rounds.Sum(static round => round.Lost);

    public int CameBack => Rounds.Sum(static round => round.CameBack);

    public int Wrong => Rounds.Sum(static round => round.Wrong);

    public int SlowRestarts => Rounds.Count(round => round.RestartMs > RestartMsMax);

    public Distribution RestartMs => Distribution.Of(Rounds.Select(static round => round.RestartMs));

    public Distribution ScanMs => Distribution.Of(Rounds.Select(static round => round.ScanMs));

    public bool IsGood => Lost + CameBack + Wrong + SlowRestarts == 0;
}
