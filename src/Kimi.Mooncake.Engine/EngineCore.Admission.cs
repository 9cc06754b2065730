namespace Kimi.Mooncake.Engine;

/// <content>Waiting sequences get their blocks: from the prefix tree, from the store, or empty.</content>
public sealed partial class EngineCore
{
    /// <summary>Sequences that have blocks and run or will run.</summary>
    private int ActiveCount => _running.Count + _loads.Count + _imports.Count + _swapIns.Count;

    private enum AdmissionAttempt
    {
        Admitted,
        AwaitsBlock,
        NoBlocks,
    }

    private void Admit(TimeSpan now)
    {
        var index = 0;
        while (index < _waiting.Count && ActiveCount < _options.RunningSequencesMax)
        {
            var sequence = _waiting[index];
            var attempt = TryAdmit(sequence);
            if (attempt == AdmissionAttempt.NoBlocks)
            {
                // First come, first served: a smaller request behind this one must not take the blocks it waits for.
                return;
            }

            if (attempt == AdmissionAttempt.AwaitsBlock)
            {
                index++;
                continue;
            }

            _waiting.RemoveAt(index);
            if (sequence.WasAdmitted)
            {
                _preemptedWaiting--;
            }
            else
            {
                _counters.RequestsAdmitted++;
                _counters.QueueTime += now - sequence.Submitted;
            }

            sequence.Admitted = now;
            Begin(sequence);
        }
    }

    private AdmissionAttempt TryAdmit(Sequence sequence)
    {
        if (sequence.State == SequenceState.SwappingOut)
        {
            return AdmissionAttempt.NoBlocks;
        }

        var keys = sequence.Keys.Keys;
        if (sequence.AwaitedBlock >= 0 && _inFlight.ContainsKey(keys[sequence.AwaitedBlock]))
        {
            return AdmissionAttempt.AwaitsBlock;
        }

        keys = keys[..ReusableBlocks(sequence)];
        sequence.AwaitedBlock = LastInFlight(keys);
        if (sequence.AwaitedBlock >= 0)
        {
            return AdmissionAttempt.AwaitsBlock;
        }

        _pool.HoldPrefix(keys, sequence.Blocks);
        var needed = BlocksFor(sequence.TokenCount) - sequence.Blocks.Count;
        if (!Reserve(needed + ActiveCount))
        {
            Release(sequence.Blocks);
            return AdmissionAttempt.NoBlocks;
        }

        sequence.EnsureCapacity(_layout.BlockTokens);
        sequence.PublishedBlocks = sequence.Blocks.Count;
        for (; needed > 0; needed--)
        {
            _pool.TryAllocate(out var blockId);
            sequence.Blocks.Append(blockId);
        }

        return AdmissionAttempt.Admitted;
    }

    /// <summary>
    /// Leading blocks of the prompt that need not be computed. The token after the prompt is drawn from its last token,
    /// so the block that this one may fill is not taken from elsewhere, unless tokens after it are brought back.
    /// </summary>
    private int ReusableBlocks(Sequence sequence) =>
        (sequence.SwappedTokens > 0 ? sequence.PromptLength : sequence.PromptLength - 1) / _layout.BlockTokens;

    /// <summary>
    /// Of the blocks after the cached prefix, the last in a row that another sequence is making; -1 when the first
    /// missing one is not being made. Whoever waits for the last has all of them when it is there.
    /// </summary>
    private int LastInFlight(ReadOnlySpan<Core.BlockKey> keys)
    {
        var last = -1;
        for (var i = _pool.Tree.Match(keys); i < keys.Length && _inFlight.ContainsKey(keys[i]); i++)
        {
            last = i;
        }

        return last;
    }

    /// <summary>Makes sure that blocks can be allocated, if need be at the cost of settling.</summary>
    private bool Reserve(int blocks)
    {
        while (_pool.AvailableCount < blocks && _settling.Count > 0)
        {
            DropOldestSettling();
        }

        return _pool.AvailableCount >= blocks;
    }

    private void Begin(Sequence sequence)
    {
        var matched = sequence.PublishedBlocks;
        var keys = sequence.Keys.Keys;
        for (var i = 0; i < matched; i++)
        {
            _saves?.Offer(keys[i], sequence.Keys.ParentOf(i), sequence.Blocks[i]);
        }

        for (var i = matched; i < sequence.PromptLength / _layout.BlockTokens; i++)
        {
            _inFlight.TryAdd(keys[i], sequence);
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
