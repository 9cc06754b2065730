using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

/// <content>Waiting sequences get their blocks: from the prefix tree, from the store, or empty.</content>
public sealed partial class EngineCore
{
    /// <summary>Sequences that have blocks and run or will run.</summary>
    private int ActiveCount => _running.Count + _loads.Count + _imports.Count + _swapIns.Count;

    private void Admit(TimeSpan now)
    {
        if (!AdmitPreempted(now))
        {
            return;
        }

        // Nobody takes the blocks that the next in turn waits for: a large request would never get them together.
        while (ActiveCount < _options.RunningSequencesMax && NextInTurn() is { } next && TryReserve(next))
        {
            TakeTurn(next);
            _waiting.Remove(next);
            _counters.RequestsAdmitted++;
            _counters.QueueTime += now - next.Submitted;
            Begin(next, now);
        }
    }

    /// <summary>Admits those that had a turn and lost their blocks, before all others and by arrival.</summary>
    /// <returns>Whether none of them is left waiting for blocks.</returns>
    private bool AdmitPreempted(TimeSpan now)
    {
        var index = 0;
        while (_preemptedWaiting > 0 && index < _waiting.Count && ActiveCount < _options.RunningSequencesMax)
        {
            var sequence = _waiting[index];
            if (!sequence.WasAdmitted || AwaitsBlock(sequence))
            {
                index++;
                continue;
            }

            if (sequence.State == SequenceState.SwappingOut || !TryReserve(sequence))
            {
                return false;
            }

            _waiting.RemoveAt(index);
            _preemptedWaiting--;
            Begin(sequence, now);
        }

        return true;
    }

    /// <summary>Whether another sequence is making blocks that this one lacks.</summary>
    private bool AwaitsBlock(Sequence sequence)
    {
        if (sequence.AwaitedBlock >= 0)
        {
            ref readonly var awaited = ref sequence.Keys.Keys[sequence.AwaitedBlock];
            if (IsMadeFor(sequence, awaited) && _pool.Tree.Find(awaited) == PrefixTree.None)
            {
                return true;
            }
        }

        LookForBlocks(sequence);
        return sequence.AwaitedBlock >= 0;
    }

    /// <summary>
    /// Of the blocks after the cached prefix, finds the last in a row that another sequence is making; -1 when the
    /// first missing one is not being made. Whoever waits for the last has all of them when it is there.
    /// </summary>
    private void LookForBlocks(Sequence sequence)
    {
        var keys = sequence.Keys.Keys[..ReusableBlocks(sequence)];
        var matched = _pool.Tree.Match(keys);
        var made = matched;
        while (made < keys.Length && IsMadeFor(sequence, keys[made]))
        {
            made++;
        }

        sequence.AwaitedBlock = made > matched ? made - 1 : -1;
        sequence.ExpectedBlocks = made;
    }

    /// <summary>
    /// Whether another sequence is making a block that this one may wait for. What is computed for another worker never
    /// waits for what another worker computes: that one may be waiting for this one.
    /// </summary>
    private bool IsMadeFor(Sequence sequence, in BlockKey key) =>
        _inFlight.TryGetValue(key, out var maker)
        && !(sequence.Mode == SequenceMode.PrefillOnly && maker.State == SequenceState.Importing);

    /// <summary>Gives a sequence its cached prefix and empty blocks for the rest of its tokens; all or none.</summary>
    private bool TryReserve(Sequence sequence)
    {
        var keys = sequence.Keys.Keys[..ReusableBlocks(sequence)];
        _pool.HoldPrefix(keys, sequence.Blocks);
        var needed = BlocksFor(sequence.TokenCount) - sequence.Blocks.Count;
        if (!Reserve(needed + ActiveCount))
        {
            Release(sequence.Blocks);
            return false;
        }

        sequence.EnsureCapacity(_layout.BlockTokens);
        sequence.PublishedBlocks = sequence.Blocks.Count;
        for (; needed > 0; needed--)
        {
            _pool.TryAllocate(out var blockId);
            sequence.Blocks.Append(blockId);
        }

        return true;
    }

    /// <summary>
    /// Leading blocks of the prompt that need not be computed. The token after the prompt is drawn from its last token,
    /// so the block that this one may fill is not taken from elsewhere, unless tokens after it are brought back.
    /// </summary>
    private int ReusableBlocks(Sequence sequence) =>
        (sequence.SwappedTokens > 0 ? sequence.PromptLength : sequence.PromptLength - 1) / _layout.BlockTokens;

    /// <summary>Makes sure that blocks can be allocated, if need be at the cost of settling.</summary>
    private bool Reserve(int blocks)
    {
        while (_pool.AvailableCount < blocks && _settling.Count > 0)
        {
            DropOldestSettling();
        }

        return _pool.AvailableCount >= blocks;
    }

    private void Begin(Sequence sequence, TimeSpan now)
    {
        sequence.Admitted = now;
        var matched = sequence.PublishedBlocks;
        var keys = sequence.Keys.Keys;
        for (var i = 0; i < matched; i++)
        {
            OfferToStore(sequence, i);
        }

        if (matched > 0)
        {
            _connector?.Touch(keys[..matched]);
        }

        for (var i = matched; i < sequence.PromptLength / _layout.BlockTokens; i++)
        {
            if (!IsMadeFor(sequence, keys[i]))
            {
                _inFlight[keys[i]] = sequence;
            }
        }

        if (sequence.WantsImport)
        {
            BeginImport(sequence);
        }
        else if (!TryBeginLoad(sequence))
        {
            BeginPrefill(sequence);
        }
    }

    private bool TryBeginLoad(Sequence sequence)
    {
        var matched = sequence.PublishedBlocks;
        var missing = sequence.Keys.Keys[matched..ReusableBlocks(sequence)];
        if (_connector is null || missing.Length == 0)
        {
            return false;
        }

        var stored = _connector.CountStored(missing);
        if (stored == 0)
        {
            return false;
        }

        var ticket = _connector.BeginLoad(missing[..stored], sequence.BlockIds.Slice(matched, stored));
        if (ticket < 0)
        {
            return false;
        }

        sequence.State = SequenceState.Loading;
        _loads.Add(ticket, new Load(sequence, stored));
        return true;
    }

    private void TakeTransfersDone()
    {
        while (_connector is not null && _connector.TryTakeDone(out var done))
        {
            if (_loads.Remove(done.Ticket, out var load))
            {
                CompleteLoad(load, Math.Clamp(done.BlocksDone, 0, load.BlocksAsked));
            }
            else if (!TryCompleteSwap(done) && !_saves!.TryComplete(done))
            {
                throw new InvalidOperationException($"the connector reported ticket {done.Ticket}, which nobody began");
            }
        }
    }

    private void CompleteLoad(Load load, int blocksDone)
    {
        var sequence = load.Sequence;
        _counters.BlocksLoaded += blocksDone;
        _counters.BlocksLoadMissed += load.BlocksAsked - blocksDone;
        Publish(sequence, sequence.PublishedBlocks + blocksDone, fromStore: true);
        if (sequence.Cancelled)
        {
            End(sequence);
            return;
        }

        BeginPrefill(sequence);
    }

    private void BeginPrefill(Sequence sequence)
    {
        var cached = sequence.PublishedBlocks * _layout.BlockTokens;
        sequence.ComputedTokens = cached;
        sequence.CachedTokens = sequence.CachedTokens < 0 ? cached : Math.Min(sequence.CachedTokens, cached);
        if (TryBeginSwapIn(sequence))
        {
            return;
        }

        sequence.State = cached < sequence.PromptLength ? SequenceState.Prefill : SequenceState.Decode;
        InsertByArrival(_running, sequence);
        if (sequence.Mode == SequenceMode.PrefillOnly)
        {
            _events.Add(PrefillEvent(EngineEventKind.Admitted, sequence));
        }

        ReportProgress(sequence);
    }
}
