using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>What a store node is to copy.</summary>
/// <param name="Id">Number of the order.</param>
/// <param name="TargetAddress">Who is to keep the blocks too.</param>
/// <param name="Keys">Keys; each comes after its parent where both are among them.</param>
public sealed record ReplicaTask(long Id, string TargetAddress, BlockKey[] Keys);

/// <summary>What became of a <see cref="ReplicaTask"/>.</summary>
/// <param name="Blocks">Blocks that the target stored.</param>
/// <param name="IsDone">Whether the target has all of them now.</param>
public readonly record struct ReplicaOutcome(int Blocks, bool IsDone);

/// <summary>Store nodes and replicas between messages and records; what comes in is checked.</summary>
internal static class ReplicaMessages
{
    public static Wire.ConductorMessage ToMessage(IEnumerable<NodeAddress> storeNodes)
    {
        var message = new Wire.StoreNodes();
        foreach (var node in storeNodes)
        {
            message.Addresses.Add(node.Address);
            message.Hosts.Add(node.Host);
        }

        return new Wire.ConductorMessage { StoreNodes = message };
    }

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static StoreNodeAddress[] ToStoreNodes(Wire.StoreNodes message) =>
        message.Hosts.Count == 0 || message.Hosts.Count == message.Addresses.Count
            ? [.. message.Addresses.Select((address, i) => new StoreNodeAddress(
                FieldCheck.Text(address, "store_nodes.addresses", 1, GenerationMessages.AddressCharsMax),
                message.Hosts.Count == 0
                    ? ""
                    : FieldCheck.Text(message.Hosts[i], "store_nodes.hosts", 0, NodeDescriptor.HostCharactersMax)))]
            : throw FieldCheck.Fault(
                "store_nodes.hosts", $"{message.Hosts.Count} hosts", $"none, or {message.Addresses.Count}");

    public static Wire.ConductorMessage ToMessage(ReplicaOrder order) => new()
    {
        ReplicaOrder = new Wire.ReplicaOrder
        {
            Id = checked((ulong)order.Id),
            Target = ConductorMessages.ToMessage(order.Target),
            Keys = BlockKeyMessages.ToBytes([.. order.Keys]),
        },
    };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static ReplicaTask ToTask(Wire.ReplicaOrder message) => new(
        FieldCheck.LargeCount(message.Id, "replica_order.id"),
        ConductorMessages.ToAddress(
            message.Target ?? throw FieldCheck.Fault("replica_order.target", "absent", "a node"),
            "replica_order.target").Address,
        BlockKeyMessages.ToKeys(message.Keys, "replica_order.keys"));

    public static Wire.NodeMessage ToMessage(ReplicaTask task, ReplicaOutcome outcome) => new()
    {
        ReplicaReport = new Wire.ReplicaReport
        {
            Id = checked((ulong)task.Id),
            Blocks = checked((uint)outcome.Blocks),
            Done = outcome.IsDone,
        },
    };
}
