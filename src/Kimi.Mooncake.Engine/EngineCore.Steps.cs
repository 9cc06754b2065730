using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <content>What a step computes, and what its results do to the sequences.</content>
public sealed partial class EngineCore
{
    private void Plan()
    {
        // The oldest first, so that it can take a block from a younger one that is not in the plan yet.
        for (var i = 0; i < _running.Count; i++)
        {
            var sequence = _running[i];
            if (sequence.State == SequenceState.Decode && HasBlockForNext(sequence))
            {
                var sample = sequence.ComputedTokens == sequence.TokenCount - 1;
                _plan.Add(new StepSlice(sequence, sequence.ComputedTokens, 1, SliceKind.Decode, sample));
            }
        }

        var budget = _options.PrefillChunkTokens;
        for (var i = 0; i < _running.Count && budget > 0; i++)
        {
            var sequence = _running[i];
            if (sequence.State == SequenceState.Prefill)
            {
                var count = Math.Min(budget, sequence.PromptLength - sequence.ComputedTokens);
                var end = sequence.ComputedTokens + count;
                var sample = end == sequence.TokenCount;
                _plan.Add(new StepSlice(sequence, sequence.ComputedTokens, count, SliceKind.Prefill, sample));
                budget -= count;
            }
        }

        if (_live.Count == 0 && _loads.Count == 0)
        {
            PlanSettling(budget);
        }
    }

    private void PlanSettling(int budget)
    {
        if (_settling.Count > 0 && _settlingInterrupt.IsCancellationRequested)
        {
            // The old source is left to the collector: another thread may be about to set it.
            Volatile.Write(ref _settlingInterrupt, new CancellationTokenSource());
        }

        for (var i = 0; i < _settling.Count && budget > 0; i++)
        {
            var sequence = _settling[i];
            sequence.Cancellation = _settlingInterrupt.Token;
            var count = Math.Min(budget, SettledEnd(sequence) - sequence.ComputedTokens);
            _plan.Add(new StepSlice(sequence, sequence.ComputedTokens, count, SliceKind.Prefill, Sample: false));
            budget -= count;
        }
    }

    private int SettledEnd(Sequence sequence) =>
        sequence.TokenCount / _layout.BlockTokens * _layout.BlockTokens;

    /// <summary>
    /// Sees to the block of the next token. Where memory is short, settling gives way first, then the youngest running
    /// sequence, which may be this one. A sequence that runs alone stays as it is until a transfer gives blocks back.
    /// </summary>
    private bool HasBlockForNext(Sequence sequence)
    {
        if (sequence.ComputedTokens < sequence.Blocks.Count * _layout.BlockTokens)
        {
            return true;
        }

        int blockId;
        while (!_pool.TryAllocate(out blockId))
        {
            if (_settling.Count > 0)
            {
                DropOldestSettling();
                continue;
            }

            if (_running.Count == 1)
            {
                return false;
            }

            var youngest = _running[^1];
            Preempt(youngest);
            if (youngest == sequence)
            {
                return false;
            }
        }

        sequence.Blocks.Append(blockId);
        return true;
    }

    /// <summary>
    /// Takes a running sequence's blocks. It waits in its place of arrival; when its turn comes, its prompt is
    /// prefilled and its generated tokens are decoded once more, each with the arithmetic of the first time, so that
    /// its output does not change.
    /// </summary>
    private void Preempt(Sequence sequence)
    {
        _counters.Preemptions++;
        _running.Remove(sequence);
        Release(sequence);
        sequence.State = SequenceState.Waiting;
        InsertByArrival(_waiting, sequence);
        _preemptedWaiting++;
    }

    private void Compute()
    {
        _counters.Steps++;
        try
        {
            _runner.Execute(_plan, _result);
            if (_result.Count != _plan.Count)
            {
                throw new InvalidOperationException($"{_result.Count} results for {_plan.Count} slices");
            }
        }
        catch (Exception exception)
        {
            // Whatever the runner met, only the sequences of this step are in doubt.
            foreach (var slice in _plan.Slices)
            {
                Fail(slice.Sequence, exception.Message);
            }

            return;
        }

        for (var i = 0; i < _plan.Count; i++)
        {
            ref readonly var slice = ref _plan.Slices[i];
            if (slice.Sequence.Cancellation.IsCancellationRequested)
            {
                // The runner may have left the slice uncomputed.
                EndUncomputed(slice.Sequence);
                continue;
            }

            if (_result.Tokens[i].Failure is { } failure)
            {
                Fail(slice.Sequence, failure);
                continue;
            }

            Apply(slice, _result.Tokens[i]);
        }
    }

    /// <summary>Settling is computed again another time; any other sequence has lost its caller.</summary>
    private void EndUncomputed(Sequence sequence)
    {
        if (sequence.State != SequenceState.Settling)
        {
            Finish(sequence, FinishReason.Cancelled, null);
        }
    }

    /// <summary>Ends the sequences whose caller went away, in whatever state they are.</summary>
    private void FinishCancelled()
    {
        FinishCancelled(_waiting);
        FinishCancelled(_running);
        foreach (var load in _loads.Values)
        {
            if (!load.Sequence.Cancelled && load.Sequence.Cancellation.IsCancellationRequested)
            {
                Finish(load.Sequence, FinishReason.Cancelled, null);
            }
        }
    }

    private void FinishCancelled(List<Sequence> sequences)
    {
        for (var i = sequences.Count - 1; i >= 0; i--)
        {
            if (sequences[i].Cancellation.IsCancellationRequested)
            {
                Finish(sequences[i], FinishReason.Cancelled, null);
            }
        }
    }

    private void Fail(Sequence sequence, string message)
    {
        if (sequence.State == SequenceState.Settling)
        {
            DropSettling(sequence);
            return;
        }

        Finish(sequence, FinishReason.Failed, message);
    }

    private void Apply(in StepSlice slice, in SampledToken sampled)
    {
        var sequence = slice.Sequence;
        sequence.ComputedTokens = slice.Start + slice.Count;
        if (sequence.State == SequenceState.Settling)
        {
            ApplySettled(sequence, slice.Count);
            return;
        }

        if (slice.Kind == SliceKind.Prefill)
        {
            ApplyPrefill(sequence, slice.Count);
        }
        else if (!slice.Sample)
        {
            _counters.ReplayedTokens++;
        }

        if (slice.Sample)
        {
            Accept(sequence, sampled);
        }
    }

    private void ApplyPrefill(Sequence sequence, int count)
    {
        _counters.PrefillTokensComputed += count;
        Publish(sequence, sequence.ComputedTokens / _layout.BlockTokens, fromStore: false);
        ReportProgress(sequence);
        if (sequence.ComputedTokens < sequence.PromptLength)
        {
            return;
        }

        sequence.State = SequenceState.Decode;
        if (!sequence.PrefillReported)
        {
            sequence.PrefillReported = true;
            _counters.PromptTokens += sequence.PromptLength;
            _counters.CachedTokens += sequence.CachedTokens;
            _events.Add(PrefillEvent(EngineEventKind.PrefillFinished, sequence));
        }
    }

    private void ApplySettled(Sequence sequence, int count)
    {
        _counters.SettledTokens += count;
        Publish(sequence, sequence.ComputedTokens / _layout.BlockTokens, fromStore: false);
        if (sequence.ComputedTokens == SettledEnd(sequence))
        {
            _settling.Remove(sequence);
            sequence.State = SequenceState.Ended;
            Release(sequence);
        }
    }

    private void Accept(Sequence sequence, in SampledToken sampled)
    {
        if (sequence.IsStop(sampled.TokenId))
        {
            Finish(sequence, FinishReason.Stop, null);
            return;
        }

        sequence.Append(sampled.TokenId);
        _counters.GeneratedTokens++;
        _events.Add(new EngineEvent(EngineEventKind.TokenGenerated, sequence.Id) { Token = sampled });
        if (sequence.GeneratedCount == sequence.MaxNewTokens)
        {
            Finish(sequence, FinishReason.Length, null);
        }
    }

    private void Finish(Sequence sequence, FinishReason reason, string? message)
    {
        Count(reason);
        _live.Remove(sequence.Id);
        _events.Add(new EngineEvent(EngineEventKind.Finished, sequence.Id) { Reason = reason, Message = message });
        if (sequence.State == SequenceState.Loading)
        {
            // The connector still writes into the blocks; they are released when it is done.
            sequence.Cancelled = true;
            return;
        }

        if (sequence.State == SequenceState.Waiting)
        {
            _waiting.Remove(sequence);
            _preemptedWaiting -= sequence.WasAdmitted ? 1 : 0;
        }
        else
        {
            _running.Remove(sequence);
        }

        var complete = reason is FinishReason.Stop or FinishReason.Length;
        if (complete && _options.SettleGeneratedBlocks && SettledEnd(sequence) > sequence.PromptLength)
        {
            BeginSettling(sequence);
            return;
        }

        sequence.State = SequenceState.Ended;
        Release(sequence);
    }

    private void BeginSettling(Sequence sequence)
    {
        if (_settling.Count == _options.SettlingSequencesMax)
        {
            DropOldestSettling();
        }

        sequence.State = SequenceState.Settling;
        // The caller has all he asked for; that he goes away now must not end the settling.
        sequence.Cancellation = CancellationToken.None;
        sequence.ComputedTokens = sequence.PromptLength;
        sequence.Keys.Extend(sequence.Tokens);
        _settling.Add(sequence);
    }

    private void DropOldestSettling() => DropSettling(_settling[0]);

    private void DropSettling(Sequence sequence)
    {
        _counters.SettlingDropped++;
        _settling.Remove(sequence);
        sequence.State = SequenceState.Ended;
        Release(sequence);
    }

    private void Count(FinishReason reason)
    {
        switch (reason)
        {
            case FinishReason.Stop:
                _counters.FinishedStop++;
                break;
            case FinishReason.Length:
                _counters.FinishedLength++;
                break;
            case FinishReason.Cancelled:
                _counters.FinishedCancelled++;
                break;
            default:
                _counters.FinishedFailed++;
                break;
        }
    }

    private void ReportProgress(Sequence sequence)
    {
        if (sequence.ReportProgress && !sequence.PrefillReported)
        {
            _events.Add(PrefillEvent(EngineEventKind.PrefillProgressed, sequence));
        }
    }

    private static EngineEvent PrefillEvent(EngineEventKind kind, Sequence sequence) => new(kind, sequence.Id)
    {
        PromptTokens = sequence.PromptLength,
        CachedTokens = sequence.CachedTokens,
        ProcessedTokens = sequence.ComputedTokens,
    };
}
