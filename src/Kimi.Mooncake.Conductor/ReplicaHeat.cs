using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// How often the placement groups of prompts are used, and which of them are wanted on more store nodes than others.
/// Those unused for longest are forgotten when there are too many.
/// </summary>
internal sealed class ReplicaHeat
{
    private readonly ReplicaOptions _options;
    private readonly HeatRules _rules;
    private readonly Dictionary<BlockKey, ReplicaGroup> _groups = [];
    private readonly LinkedList<ReplicaGroup> _prompts = new();
    private readonly LinkedList<ReplicaGroup> _contexts = new();

    public ReplicaHeat(ReplicaOptions options)
    {
        _options = options;
        // A block that was used once is never hot.
        _rules = new HeatRules(
            Math.Max(1.5, options.HotRequestsPerSecond * options.HotWindowSeconds), options.HotWindowSeconds,
            options.GroupKeysMax, TimeSpan.FromSeconds(options.ContextKeysSeconds));
    }

    public int Count => _groups.Count;

    public HeatRules Rules => _rules;

    /// <summary>Groups of which more replicas are wanted, in the order in which they are to be looked at.</summary>
    public LinkedList<ReplicaGroup> Wanted { get; } = new();

    /// <summary>Counts a request.</summary>
    /// <param name="keys">Keys of the prompt's full blocks.</param>
    /// <param name="contextBlocks">Leading blocks that belong to a context.</param>
    /// <param name="now">The time.</param>
    public void Touch(ReadOnlySpan<BlockKey> keys, int contextBlocks, TimeSpan now)
    {
        for (var first = 0; first < keys.Length; first = PlacementGroup.EndOf(first))
        {
            var end = Math.Min(keys.Length, PlacementGroup.EndOf(first));
            var group = Find(keys[first]);
            if (group.Touch(keys[first..end], first, contextBlocks, _rules, now))
            {
                group.NextLook = now;
                group.WantedPlace ??= Wanted.AddFirst(group);
            }

            MoveToFront(group);
        }

        Trim(_prompts, _options.TrackedGroupsMax);
        Trim(_contexts, _options.ContextGroupsMax);
    }

    /// <summary>Nothing more is wanted of a group.</summary>
    public void Satisfy(ReplicaGroup group)
    {
        if (group.WantedPlace is { } place)
        {
            Wanted.Remove(place);
            group.WantedPlace = null;
        }
    }

    private ReplicaGroup Find(in BlockKey anchor)
    {
        if (!_groups.TryGetValue(anchor, out var group))
        {
            group = new ReplicaGroup(anchor);
            _groups.Add(anchor, group);
        }

        return group;
    }

    private void MoveToFront(ReplicaGroup group)
    {
        group.Place?.List!.Remove(group.Place);
        group.Place = (group.IsContext ? _contexts : _prompts).AddFirst(group);
    }

    private void Trim(LinkedList<ReplicaGroup> groups, int most)
    {
        while (groups.Count > most)
        {
            var last = groups.Last!.Value;
            groups.RemoveLast();
            last.Place = null;
            Satisfy(last);
            _groups.Remove(last.Anchor);
        }
    }
}
