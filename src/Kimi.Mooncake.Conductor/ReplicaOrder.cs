using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>An order to a store node to copy blocks to another one.</summary>
/// <param name="Id">Number of the order, ascending.</param>
/// <param name="Holder">Who has the blocks and is to send them.</param>
/// <param name="Target">Who is to keep them too.</param>
/// <param name="Keys">Keys of the blocks; each comes after its parent where both are among them.</param>
public sealed record ReplicaOrder(
    long Id, NodeAddress Holder, NodeAddress Target, IReadOnlyList<BlockKey> Keys);

/// <summary>What the conductor knows of replicas at one moment.</summary>
/// <param name="TrackedGroups">Placement groups whose requests are counted.</param>
/// <param name="WantedGroups">Of these, those with blocks that are hot or of a context.</param>
/// <param name="Orders">Orders being done.</param>
public readonly record struct ReplicaState(int TrackedGroups, int WantedGroups, int Orders);
