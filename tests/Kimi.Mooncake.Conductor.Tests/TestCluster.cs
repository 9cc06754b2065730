using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>A conductor with a clock, and short ways to say what nodes do. A block has 16 tokens of 64 bytes.</summary>
internal sealed class TestCluster(ConductorOptions? options = null, ReplicaOptions? replicas = null)
{
    public const int BlockTokens = 16;

    private const int ExpireIntervalMs = 100;

    public static readonly ModelCard Model = CardOf(new KvLayout(KvElementType.F32, 2, 6, 2, BlockTokens));

    private readonly Dictionary<string, MembershipId> _members = [];
    private readonly Dictionary<string, ulong> _sequences = [];

    public ConductorCore Core { get; } = new(options ?? new ConductorOptions(), replicas);

    public TimeSpan Now { get; private set; } = TimeSpan.FromSeconds(1000);

    public static ModelCard CardOf(KvLayout layout, string fingerprint = "f1") =>
        new("kimi", 100_000, 1000, fingerprint, layout, 0);

    /// <summary>Keys of a document's blocks; documents differ from their first block.</summary>
    public static BlockKey[] Keys(int document, int count, int from = 0) =>
        [.. Enumerable.Range(from, count).Select(block => Key(document, block))];

    public static BlockKey Key(int document, int block)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        bytes.Clear();
        // Spread like a hash, so that the first bytes differ.
        BinaryPrimitives.WriteInt32LittleEndian(bytes, unchecked((document * 7919 + block + 1) * (int)2654435761));
        BinaryPrimitives.WriteInt32LittleEndian(bytes[8..], document);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[12..], block);
        return new BlockKey(bytes);
    }

    public static NodeDescriptor Describe(
        string id, NodeRoles roles, ulong epoch = 1, int blocks = 1000, int sequences = 8, ModelCard? model = null) =>
        new(id, epoch, roles, $"http://{id}", model ?? Model, blocks, sequences);

    public static NodeLoad Idle(int blocks = 1000) => new()
    {
        Ready = true,
        BlocksFree = blocks,
        PrefillCost = new PrefillCost(0.001, 0.001, 0, 1),
        TransferBytesPerSecond = 1e9,
    };

    public static RouteQuery Query(
        BlockKey[] keys, int extraTokens = 4, string tenant = "", int newTokens = 16, string[]? excluded = null)
    {
        var tokens = keys.Length * BlockTokens + extraTokens;
        return new RouteQuery
        {
            RequestId = "r",
            Tenant = tenant,
            PromptTokens = tokens,
            SequenceTokensMax = tokens + newTokens,
            BlockKeys = keys,
            ExcludedNodes = excluded ?? [],
        };
    }

    /// <summary>Time passes, and the conductor looks at the clock.</summary>
    public void Advance(int milliseconds)
    {
        for (; milliseconds > 0; milliseconds -= ExpireIntervalMs)
        {
            Now += TimeSpan.FromMilliseconds(Math.Min(milliseconds, ExpireIntervalMs));
            Core.Expire(Now);
        }
    }

    /// <summary>Time passes while the conductor stands still.</summary>
    public void Pause(int milliseconds) => Now += TimeSpan.FromMilliseconds(milliseconds);

    public RegistrationResult Register(NodeDescriptor node)
    {
        var result = Core.Register(node, Now);
        if (result.IsAccepted)
        {
            _members[node.NodeId] = result.Membership;
            _sequences[node.NodeId] = 1;
        }

        return result;
    }

    /// <summary>Registers a node that is ready and has no blocks.</summary>
    public void Join(
        string id, NodeRoles roles, NodeLoad? load = null, int blocks = 1000, int sequences = 8, string host = "")
    {
        var result = Register(Describe(id, roles, blocks: blocks, sequences: sequences) with { Host = host });
        Assert.That(result.IsAccepted, Is.True, result.Message);
        Assert.That(Load(id, load ?? Idle(blocks)), Is.True);
        Snapshot(id, []);
    }

    public bool Load(string id, NodeLoad load) => Core.Heartbeat(_members[id], load, Now);

    public MembershipId MemberOf(string id) => _members[id];

    public KvEventResult Snapshot(string id, BlockKey[] keys, ulong last = 0)
    {
        _sequences[id] = last + 1;
        return Core.Apply(
            _members[id],
            new KvEventBatch { Sequence = last, SnapshotBegin = true, SnapshotEnd = true, Keys = keys }, Now);
    }

    public KvEventResult Added(string id, params BlockKey[] keys) => Changed(id, keys, new bool[keys.Length]);

    public KvEventResult Removed(string id, params BlockKey[] keys) =>
        Changed(id, keys, [.. keys.Select(_ => true)]);

    public KvEventResult Changed(string id, BlockKey[] keys, bool[] removed)
    {
        var batch = new KvEventBatch { Sequence = _sequences[id], Keys = keys, Removed = removed };
        _sequences[id] += (ulong)keys.Length;
        return Core.Apply(_members[id], batch, Now);
    }

    /// <summary>Numbers go on without the events being sent.</summary>
    public void LoseEvents(string id, int count) => _sequences[id] += (ulong)count;

    public RouteTicket Submit(RouteQuery query) => Core.Submit(query, Now);

    public WorkerPair Route(RouteQuery query)
    {
        var ticket = Submit(query);
        Assert.That(ticket.State, Is.EqualTo(RouteState.Routed), ticket.Refusal?.Message ?? "it waits");
        return ticket.Pair!;
    }

    public void Release(RouteTicket ticket) => Core.Release(ticket, Now);

    /// <summary>Events since the last call.</summary>
    public ConductorEvent[] TakeEvents()
    {
        var events = Core.Events.ToArray();
        Core.ClearEvents();
        return events;
    }

    public NodeState StateOf(string id) => Core.Nodes(Now).Single(node => node.Descriptor.NodeId == id);
}
