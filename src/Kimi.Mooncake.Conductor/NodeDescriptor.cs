using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>What a node says of itself when it registers; it does not change afterwards.</summary>
/// <param name="NodeId">Its name, unique in the cluster; 1 to <see cref="NodeIdCharactersMax"/> characters.</param>
/// <param name="Epoch">Greater after each start of the node: an earlier life is refused.</param>
/// <param name="Roles">What it does; at least one role.</param>
/// <param name="Address">Where other processes reach it, such as <c>http://127.0.0.1:9091</c>.</param>
/// <param name="Model">What it serves; fingerprint and KV layout must be those of the cluster.</param>
/// <param name="BlocksTotal">Blocks of its pool; at least 1 for a worker.</param>
/// <param name="SequencesMax">Sequences that it runs at once; at least 1 for a worker.</param>
public sealed record NodeDescriptor(
    string NodeId,
    ulong Epoch,
    NodeRoles Roles,
    string Address,
    ModelCard Model,
    int BlocksTotal,
    int SequencesMax)
{
    /// <summary>Most characters of a node's name.</summary>
    public const int NodeIdCharactersMax = 128;

    /// <summary>Most characters of the name of a machine.</summary>
    public const int HostCharactersMax = 253;

    /// <summary>
    /// Name of its machine; replicas are kept on different ones. Empty: no other node is on its machine.
    /// </summary>
    public string Host { get; init; } = "";
}

/// <summary>A node and where it is reached.</summary>
/// <param name="NodeId">Name of the node.</param>
/// <param name="Address">Where other processes reach it.</param>
public sealed record NodeAddress(string NodeId, string Address)
{
    /// <summary>Name of its machine; empty where it does not matter.</summary>
    public string Host { get; init; } = "";
}
