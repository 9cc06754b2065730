using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>What a member of the cluster says of itself, and is told. Safe for use by several threads.</summary>
public interface INode
{
    /// <summary>The model that its blocks belong to; fingerprint and layout must be those of the cluster.</summary>
    ModelCard Model { get; }

    /// <summary>Blocks of its pool.</summary>
    int BlocksTotal { get; }

    /// <summary>Sequences that it runs at once; 0 for a node that runs none.</summary>
    int SequencesMax { get; }

    /// <summary>Keys that it has, and their changes; null for a node that does not tell.</summary>
    KvEventFeed? KvEvents { get; }

    /// <summary>Its load at this moment. Asked for several times a second; must not wait.</summary>
    NodeLoad Load();

    /// <summary>Takes no new work from now on, and finishes what there is. Calling it again changes nothing.</summary>
    void BeginDrain();
}

/// <summary>Who a node is.</summary>
/// <param name="NodeId">Name of the node, unique in the cluster.</param>
/// <param name="Epoch">Greater after each start of the node, such as the time of its start.</param>
/// <param name="Roles">What it does for the cluster.</param>
/// <param name="Address">Where other processes reach it, such as <c>http://127.0.0.1:9091</c>.</param>
public sealed record NodeIdentity(string NodeId, ulong Epoch, NodeRoles Roles, string Address)
{
    /// <summary>Name of its machine; empty where no other node is on it.</summary>
    public string Host { get; init; } = "";
}
