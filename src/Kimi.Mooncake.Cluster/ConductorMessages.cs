using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>Members, loads and routes between messages and the conductor's records; what comes in is checked.</summary>
internal static class ConductorMessages
{
    private const int NodeIdCharsMax = NodeDescriptor.NodeIdCharactersMax;
    private const int ReasonCharsMax = 4096;
    private const int ExcludedNodesMax = 4096;

    private static readonly (NodeRoles Role, Wire.NodeRole Wire)[] Roles =
    [
        (NodeRoles.Prefill, Wire.NodeRole.Prefill),
        (NodeRoles.Decode, Wire.NodeRole.Decode),
        (NodeRoles.Store, Wire.NodeRole.Store),
    ];

    public static Wire.NodeRegistration ToMessage(NodeDescriptor node)
    {
        var message = new Wire.NodeRegistration
        {
            NodeId = node.NodeId,
            Epoch = node.Epoch,
            Address = node.Address,
            Model = ModelMessages.ToMessage(node.Model),
            BlocksTotal = checked((uint)node.BlocksTotal),
            SequencesMax = checked((uint)node.SequencesMax),
            Host = node.Host,
        };
        foreach (var (role, wire) in Roles)
        {
            if (node.Roles.HasFlag(role))
            {
                message.Roles.Add(wire);
            }
        }

        return message;
    }

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static NodeDescriptor ToDescriptor(Wire.NodeRegistration message)
    {
        var roles = NodeRoles.None;
        foreach (var wire in message.Roles)
        {
            roles |= Roles.FirstOrDefault(pair => pair.Wire == wire).Role is var role and not NodeRoles.None
                ? role
                : throw FieldCheck.Fault("roles", $"{wire}", "PREFILL, DECODE or STORE");
        }

        return new NodeDescriptor(
            FieldCheck.Text(message.NodeId, "node_id", 1, NodeIdCharsMax),
            message.Epoch,
            roles == NodeRoles.None ? throw FieldCheck.Fault("roles", "none", "at least one") : roles,
            FieldCheck.Text(message.Address, "address", 1, GenerationMessages.AddressCharsMax),
            ModelMessages.ToCard(message.Model ?? throw FieldCheck.Fault("model", "absent", "a model")),
            FieldCheck.Count(message.BlocksTotal, "blocks_total"),
            FieldCheck.Count(message.SequencesMax, "sequences_max"))
        {
            Host = FieldCheck.Text(message.Host, "host", 0, NodeDescriptor.HostCharactersMax),
        };
    }

    public static Wire.NodeLoad ToMessage(NodeLoad load) => new()
    {
        Waiting = checked((uint)load.Waiting),
        Running = checked((uint)load.Running),
        QueuedPrefillTokens = checked((ulong)load.QueuedPrefillTokens),
        BlocksFree = checked((uint)load.BlocksFree),
        BlocksCached = checked((uint)load.BlocksCached),
        BlocksHeld = checked((uint)load.BlocksHeld),
        PrefillCost = new Wire.PrefillCost
        {
            FixedSeconds = load.PrefillCost.FixedSeconds,
            TokenSeconds = load.PrefillCost.TokenSeconds,
            PairSeconds = load.PrefillCost.PairSeconds,
            Samples = checked((ulong)load.PrefillCost.Samples),
        },
        DecodeStepSeconds = load.DecodeStepSeconds,
        TransferBytesPerSecond = load.TransferBytesPerSecond,
        Draining = load.Draining,
        Ready = load.Ready,
        NotReadyReason = Short(load.NotReadyReason),
    };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static NodeLoad ToLoad(Wire.NodeLoad message) => new()
    {
        Waiting = FieldCheck.Count(message.Waiting, "waiting"),
        Running = FieldCheck.Count(message.Running, "running"),
        QueuedPrefillTokens = FieldCheck.LargeCount(message.QueuedPrefillTokens, "queued_prefill_tokens"),
        BlocksFree = FieldCheck.Count(message.BlocksFree, "blocks_free"),
        BlocksCached = FieldCheck.Count(message.BlocksCached, "blocks_cached"),
        BlocksHeld = FieldCheck.Count(message.BlocksHeld, "blocks_held"),
        PrefillCost = ToCost(message.PrefillCost),
        DecodeStepSeconds = FieldCheck.Measure(message.DecodeStepSeconds, "decode_step_seconds"),
        TransferBytesPerSecond = FieldCheck.Measure(message.TransferBytesPerSecond, "transfer_bytes_per_second"),
        Draining = message.Draining,
        Ready = message.Ready,
        NotReadyReason = FieldCheck.Text(message.NotReadyReason, "not_ready_reason", 0, ReasonCharsMax),
    };

    public static Wire.RouteRequest ToMessage(RouteQuery query)
    {
        var message = new Wire.RouteRequest
        {
            RequestId = query.RequestId,
            Tenant = query.Tenant,
            PromptTokens = checked((uint)query.PromptTokens),
            SequenceTokensMax = checked((uint)query.SequenceTokensMax),
            BlockKeys = BlockKeyMessages.ToBytes(query.BlockKeys.Span),
            ContextBlocks = checked((uint)query.ContextBlocks),
        };
        message.ExcludedNodes.AddRange(query.ExcludedNodes);
        return message;
    }

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static RouteQuery ToQuery(Wire.RouteRequest message)
    {
        var prompt = FieldCheck.Count(message.PromptTokens, "prompt_tokens", min: 1);
        _ = FieldCheck.Count((uint)message.ExcludedNodes.Count, "excluded_nodes", 0, ExcludedNodesMax);
        return new RouteQuery
        {
            RequestId = FieldCheck.Text(message.RequestId, "request_id", 1, GenerationMessages.RequestIdCharsMax),
            Tenant = FieldCheck.Tenant(message.Tenant),
            PromptTokens = prompt,
            SequenceTokensMax = FieldCheck.Count(message.SequenceTokensMax, "sequence_tokens_max", min: prompt),
            BlockKeys = BlockKeyMessages.ToKeys(message.BlockKeys, "block_keys"),
            ContextBlocks = FieldCheck.Count(message.ContextBlocks, "context_blocks"),
            ExcludedNodes = [.. message.ExcludedNodes.Select(
                node => FieldCheck.Text(node, "excluded_nodes", 1, NodeIdCharsMax))],
        };
    }

    public static Wire.Pair ToMessage(WorkerPair pair) => new()
    {
        Decode = ToMessage(pair.Decode),
        Prefill = pair.Prefill is null ? null : ToMessage(pair.Prefill),
        Source = pair.Source is null ? null : ToMessage(pair.Source),
        SourceBlocks = checked((uint)pair.SourceBlocks),
        TtftSeconds = pair.TtftSeconds,
        Degraded = pair.Degraded,
    };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static WorkerPair ToPair(Wire.Pair message) => new(
        ToAddress(message.Decode ?? throw FieldCheck.Fault("pair.decode", "absent", "a node"), "pair.decode"),
        message.Prefill is null ? null : ToAddress(message.Prefill, "pair.prefill"),
        message.Source is null ? null : ToAddress(message.Source, "pair.source"),
        FieldCheck.Count(message.SourceBlocks, "pair.source_blocks"),
        FieldCheck.Measure(message.TtftSeconds, "pair.ttft_seconds"),
        message.Degraded);

    public static Wire.RouteRefused ToMessage(RouteRefusal refusal) => new()
    {
        Reason = refusal.Reason switch
        {
            RouteRefusalReason.QueueFull => Wire.RouteRefusal.QueueFull,
            RouteRefusalReason.QueueTimeout => Wire.RouteRefusal.QueueTimeout,
            RouteRefusalReason.NoWorker => Wire.RouteRefusal.NoWorker,
            RouteRefusalReason.TooLong => Wire.RouteRefusal.TooLong,
            _ => throw new ArgumentException($"unknown reason {refusal.Reason}", nameof(refusal)),
        },
        RetryAfterMs = checked((uint)refusal.RetryAfter.TotalMilliseconds),
        Value = checked((uint)refusal.Value),
        ValueMax = checked((uint)refusal.ValueMax),
        Message = Short(refusal.Message),
    };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static RouteRefusal ToRefusal(Wire.RouteRefused message) => new(
        message.Reason switch
        {
            Wire.RouteRefusal.QueueFull => RouteRefusalReason.QueueFull,
            Wire.RouteRefusal.QueueTimeout => RouteRefusalReason.QueueTimeout,
            Wire.RouteRefusal.NoWorker => RouteRefusalReason.NoWorker,
            Wire.RouteRefusal.TooLong => RouteRefusalReason.TooLong,
            _ => throw FieldCheck.Fault(
                "refused.reason", $"{message.Reason}", "QUEUE_FULL, QUEUE_TIMEOUT, NO_WORKER or TOO_LONG"),
        },
        TimeSpan.FromMilliseconds(message.RetryAfterMs),
        FieldCheck.Count(message.Value, "refused.value"),
        FieldCheck.Count(message.ValueMax, "refused.value_max"),
        FieldCheck.Text(message.Message, "refused.message", 0, ReasonCharsMax));

    public static Wire.NodeState ToMessage(NodeState node) => new()
    {
        Registration = ToMessage(node.Descriptor),
        Load = node.Load is null ? null : ToMessage(node.Load),
        Routed = checked((uint)node.Routed),
        IndexedBlocks = checked((ulong)node.IndexedBlocks),
        SilentMs = checked((ulong)node.Silent.TotalMilliseconds),
        Health = node.Health switch
        {
            NodeHealth.Ready => Wire.NodeHealth.Ready,
            NodeHealth.Draining => Wire.NodeHealth.Draining,
            NodeHealth.Suspect => Wire.NodeHealth.Suspect,
            _ => throw new ArgumentException($"unknown health {node.Health}", nameof(node)),
        },
        HealthReason = Short(node.HealthReason),
    };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static NodeState ToState(Wire.NodeState message) => new(
        ToDescriptor(message.Registration ?? throw FieldCheck.Fault("registration", "absent", "a registration")),
        message.Load is null ? null : ToLoad(message.Load),
        FieldCheck.Count(message.Routed, "routed"),
        FieldCheck.LargeCount(message.IndexedBlocks, "indexed_blocks"),
        TimeSpan.FromMilliseconds(FieldCheck.LargeCount(message.SilentMs, "silent_ms")),
        message.Health switch
        {
            Wire.NodeHealth.Ready => NodeHealth.Ready,
            Wire.NodeHealth.Draining => NodeHealth.Draining,
            Wire.NodeHealth.Suspect => NodeHealth.Suspect,
            _ => throw FieldCheck.Fault("health", $"{message.Health}", "READY, DRAINING or SUSPECT"),
        },
        FieldCheck.Text(message.HealthReason, "health_reason", 0, ReasonCharsMax));

    public static Wire.NodeAddress ToMessage(NodeAddress node) =>
        new() { NodeId = node.NodeId, Address = node.Address };

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static NodeAddress ToAddress(Wire.NodeAddress message, string field) => new(
        FieldCheck.Text(message.NodeId, $"{field}.node_id", 1, NodeIdCharsMax),
        FieldCheck.Text(message.Address, $"{field}.address", 1, GenerationMessages.AddressCharsMax));

    private static string Short(string reason) =>
        reason.Length <= ReasonCharsMax ? reason : reason[..ReasonCharsMax];

    private static PrefillCost ToCost(Wire.PrefillCost? message) => message is null
        ? default
        : new PrefillCost(
            FieldCheck.Measure(message.FixedSeconds, "prefill_cost.fixed_seconds"),
            FieldCheck.Measure(message.TokenSeconds, "prefill_cost.token_seconds"),
            FieldCheck.Measure(message.PairSeconds, "prefill_cost.pair_seconds"),
            FieldCheck.LargeCount(message.Samples, "prefill_cost.samples"));
}
