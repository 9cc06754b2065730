namespace Kimi.Mooncake.Host.Processes;

/// <summary>Where a cluster runs.</summary>
internal sealed record ClusterPlace
{
    /// <summary>Folder for logs, and for the folders of the processes; created when missing.</summary>
    public required string Folder { get; init; }

    /// <summary>Model file of all processes.</summary>
    public required string Model { get; init; }

    /// <summary>First port; 0 takes free ones.</summary>
    public int BasePort { get; init; }

    /// <summary>Address under which others reach a node, given the one it listens on; null leaves that one.</summary>
    public Func<ProcessConfig, Uri, Uri>? Advertise { get; init; }

    /// <summary>Longest time until all processes answer.</summary>
    public TimeSpan StartTimeMax { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Longest time that a process has to stop by itself.</summary>
    public TimeSpan StopTimeMax { get; init; } = TimeSpan.FromSeconds(20);
}
