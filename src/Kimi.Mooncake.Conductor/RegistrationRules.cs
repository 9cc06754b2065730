using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>Which nodes may be in one cluster.</summary>
internal static class RegistrationRules
{
    /// <summary>Says whether a node may join.</summary>
    /// <param name="node">Who wants to.</param>
    /// <param name="known">Who is registered under its name; null when nobody is.</param>
    /// <param name="cluster">What the other nodes serve; null when there are none.</param>
    public static (RegistrationRefusal Refusal, string Message) Check(
        NodeDescriptor node, NodeDescriptor? known, ModelCard? cluster)
    {
        if (Fault(node) is { } fault)
        {
            return (RegistrationRefusal.Invalid, fault);
        }

        if (known is not null && node.Epoch < known.Epoch)
        {
            return (RegistrationRefusal.StaleEpoch,
                $"epoch {node.Epoch} of node {node.NodeId} is over: {known.Epoch} is registered");
        }

        if (known is not null && node.Epoch == known.Epoch && node.Address != known.Address)
        {
            return (RegistrationRefusal.Duplicate,
                $"node {node.NodeId} is registered at {known.Address}; give each node a name of its own");
        }

        return cluster is null ? (RegistrationRefusal.None, "") : CompareModels(node.Model, cluster);
    }

    private static string? Fault(NodeDescriptor node)
    {
        const NodeRoles All = NodeRoles.Prefill | NodeRoles.Decode | NodeRoles.Store;
        var isWorker = (node.Roles & (NodeRoles.Prefill | NodeRoles.Decode)) != 0;
        return node switch
        {
            { NodeId.Length: 0 or > NodeDescriptor.NodeIdCharactersMax } =>
                $"node id has {node.NodeId.Length} characters; expected 1 to {NodeDescriptor.NodeIdCharactersMax}",
            { Roles: NodeRoles.None } => "a node needs at least one role",
            _ when (node.Roles & ~All) != 0 => $"roles {node.Roles} are not all known",
            { Address.Length: 0 } => "a node needs an address",
            { Host.Length: > NodeDescriptor.HostCharactersMax } =>
                $"host has {node.Host.Length} characters; expected at most {NodeDescriptor.HostCharactersMax}",
            { BlocksTotal: < 1 } when isWorker => $"a worker with {node.BlocksTotal} blocks can hold nothing",
            { SequencesMax: < 1 } when isWorker => $"a worker for {node.SequencesMax} sequences can run nothing",
            _ => null,
        };
    }

    private static (RegistrationRefusal Refusal, string Message) CompareModels(ModelCard model, ModelCard cluster)
    {
        if (model.Fingerprint != cluster.Fingerprint)
        {
            return (RegistrationRefusal.OtherModel,
                $"the cluster serves {cluster.ModelId} ({cluster.Fingerprint}), "
                + $"this node {model.ModelId} ({model.Fingerprint}); the files, model.arithmetic and "
                + "model.latent_norm_epsilon must be the same on both");
        }

        return model.KvLayout == cluster.KvLayout
            ? (RegistrationRefusal.None, "")
            : (RegistrationRefusal.OtherLayout,
                $"the cluster's KV layout is {cluster.KvLayout.Describe()}, this node's {model.KvLayout.Describe()}; "
                + "worker.kv_type and worker.block_tokens must be the same on both");
    }
}
