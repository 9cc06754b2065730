namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>What reading every object after a crash has shown.</summary>
internal sealed class CrashFindings
{
    /// <summary>Objects that had to be there and were not.</summary>
    public int Lost;

    /// <summary>Objects that had been removed and were there again.</summary>
    public int CameBack;

    /// <summary>Objects that had to be there.</summary>
    public int Expected { get; set; }

    /// <summary>Objects that were there.</summary>
    public int Found { get; set; }

    /// <summary>Objects that were read with other bytes than were put.</summary>
    public int Wrong { get; set; }

    /// <summary>Numbers of some that were lost or came back.</summary>
    public List<long> Examples { get; } = [];
}
