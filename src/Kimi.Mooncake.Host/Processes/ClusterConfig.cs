using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>One process of a cluster.</summary>
/// <param name="Name">Unique in the cluster; also the node's id, and the name of its log.</param>
/// <param name="Roles">What it does.</param>
/// <param name="Port">Place of its two ports after the first port of the cluster.</param>
/// <param name="Settings">Settings of all processes and then its own; the later ones win.</param>
internal sealed record ProcessConfig(string Name, ServeRoles Roles, int Port, IReadOnlyList<GivenValue> Settings)
{
    /// <summary>A node that registers with the conductor: a worker or a store node.</summary>
    public bool IsNode => (Roles & NodeRoles) != 0;

    /// <summary>Whether clients ask it over HTTP.</summary>
    public bool IsGateway => (Roles & (ServeRoles.Gateway | ServeRoles.All)) != 0;

    private const ServeRoles NodeRoles = ServeRoles.Prefill | ServeRoles.Decode | ServeRoles.Store;
}

/// <summary>The processes of a cluster on one machine, as a file describes them.</summary>
/// <param name="File">Where it was read.</param>
/// <param name="Processes">In the order in which they are started.</param>
internal sealed record ClusterConfig(string File, IReadOnlyList<ProcessConfig> Processes)
{
    /// <summary>Where clients ask.</summary>
    public ProcessConfig Gateway => Processes.First(process => process.IsGateway);

    /// <summary>The process that the nodes register with; null for a process that is everything itself.</summary>
    public ProcessConfig? Conductor =>
        Processes.FirstOrDefault(process => process.Roles.HasFlag(ServeRoles.Conductor))
        ?? Processes.FirstOrDefault(process => process.Roles.HasFlag(ServeRoles.Gateway));
}
