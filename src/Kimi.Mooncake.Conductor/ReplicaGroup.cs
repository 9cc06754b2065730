using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// The blocks of one placement group, as far as requests use them: how hot they are, and what is under way.
/// </summary>
internal sealed class ReplicaGroup(BlockKey anchor)
{
    // A block is hot no more below this part of the heat that made it hot.
    private const double CoolShare = 0.25;

    private readonly Dictionary<BlockKey, KeyState> _keys = [];
    private readonly List<(BlockKey Key, int Depth, bool IsContext)> _wanted = [];
    private Fading _heat;

    private record struct KeyState(Fading Heat, int Depth, bool IsContext, bool IsHot);

    /// <summary>Key of its first block.</summary>
    public BlockKey Anchor { get; } = anchor;

    /// <summary>Its place among groups of its kind, the one used last in front.</summary>
    public LinkedListNode<ReplicaGroup>? Place { get; set; }

    /// <summary>Its place among groups of which replicas are wanted; null when none are.</summary>
    public LinkedListNode<ReplicaGroup>? WantedPlace { get; set; }

    public bool IsContext { get; private set; }

    /// <summary>When it need not be looked at before.</summary>
    public TimeSpan NextLook { get; set; }

    /// <summary>Whether every replica was there when it was last looked at and something was wanted.</summary>
    public bool WasComplete { get; set; }

    /// <summary>Targets that were tried and lack blocks still.</summary>
    public Dictionary<string, TargetTry> Tries { get; } = new(StringComparer.Ordinal);

    /// <summary>Counts a request.</summary>
    /// <param name="keys">Keys of the request's blocks in this group.</param>
    /// <param name="first">Index of the first of them in the prompt.</param>
    /// <param name="contextEnd">Index after the last block of a context in the prompt.</param>
    /// <param name="rules">When blocks are hot.</param>
    /// <param name="now">The time.</param>
    /// <returns>Whether more is wanted than before.</returns>
    public bool Touch(ReadOnlySpan<BlockKey> keys, int first, int contextEnd, HeatRules rules, TimeSpan now)
    {
        _heat = _heat.Add(now, rules.WindowSeconds);
        IsContext |= first < contextEnd;
        // Most groups are used once: nothing is kept of their keys.
        if (_heat.Value < rules.Threshold / 2 && !IsContext)
        {
            return false;
        }

        var wantsMore = false;
        var isFull = false;
        for (var index = 0; index < keys.Length; index++)
        {
            if (_keys.Count >= rules.KeysMax && !_keys.ContainsKey(keys[index]))
            {
                isFull = isFull || !MakeRoom(rules, now);
                if (isFull)
                {
                    // Those further on may be known.
                    continue;
                }
            }

            ref var state = ref CollectionsMarshal.GetValueRefOrAddDefault(_keys, keys[index], out _);
            var heat = state.Heat.Add(now, rules.WindowSeconds);
            var isContext = state.IsContext || first + index < contextEnd;
            var isHot = state.IsHot || heat.Value >= rules.Threshold;
            wantsMore |= (isHot && !state.IsHot) || (isContext && !state.IsContext);
            state = new KeyState(heat, first + index, isContext, isHot);
        }

        return wantsMore;
    }

    /// <summary>
    /// The blocks that have more replicas than others, each after its parent; valid until the next call.
    /// </summary>
    public IReadOnlyList<(BlockKey Key, int Depth, bool IsContext)> Wanted(HeatRules rules, TimeSpan now)
    {
        _wanted.Clear();
        foreach (var (key, state) in _keys)
        {
            var isHot = state.IsHot
                && state.Heat.At(now, rules.WindowSeconds) >= rules.Threshold * CoolShare;
            if (isHot != state.IsHot)
            {
                CollectionsMarshal.GetValueRefOrNullRef(_keys, key).IsHot = isHot;
            }

            if (isHot || state.IsContext)
            {
                _wanted.Add((key, state.Depth, state.IsContext));
            }
        }

        // The order of the keys themselves makes equal calls give equal orders.
        _wanted.Sort(static (one, other) => one.Depth != other.Depth
            ? one.Depth.CompareTo(other.Depth)
            : string.CompareOrdinal(one.Key.ToString(), other.Key.ToString()));
        return _wanted;
    }

    /// <summary>Whether a key is hot, as last looked at.</summary>
    public bool IsHot(in BlockKey key) => _keys.TryGetValue(key, out var state) && state.IsHot;

    private bool MakeRoom(HeatRules rules, TimeSpan now)
    {
        var before = _keys.Count;
        foreach (var (key, state) in _keys)
        {
            if (!state.IsContext && !state.IsHot && state.Heat.At(now, rules.WindowSeconds) < 1)
            {
                _keys.Remove(key);
            }
        }

        if (_keys.Count == before)
        {
            foreach (var (key, state) in _keys)
            {
                if (!state.IsHot && now - state.Heat.Counted >= rules.ContextsForgottenAfter)
                {
                    _keys.Remove(key);
                }
            }
        }

        return _keys.Count < before;
    }
}

/// <summary>When blocks are hot, and how many of a group are looked at.</summary>
/// <param name="Threshold">Heat at which a block is hot.</param>
/// <param name="WindowSeconds">Time after which a request counts for 1/e.</param>
/// <param name="KeysMax">Keys of one group.</param>
/// <param name="ContextsForgottenAfter">Time without a use after which a context's key makes room for others.</param>
internal sealed record HeatRules(
    double Threshold, double WindowSeconds, int KeysMax, TimeSpan ContextsForgottenAfter);

/// <summary>A count of requests that fades with time.</summary>
internal readonly record struct Fading(double Value, TimeSpan Counted)
{
    public Fading Add(TimeSpan now, double windowSeconds) => new(At(now, windowSeconds) + 1, now);

    public double At(TimeSpan now, double windowSeconds) =>
        Value == 0 ? 0 : Value * Math.Exp(-(now - Counted).TotalSeconds / windowSeconds);
}

/// <summary>What was tried to bring a group to a target.</summary>
/// <param name="Order">Order under way; 0 when there is none.</param>
/// <param name="Attempts">Orders so far that did not bring everything.</param>
/// <param name="NotBefore">When to try again.</param>
internal readonly record struct TargetTry(long Order, int Attempts, TimeSpan NotBefore);
