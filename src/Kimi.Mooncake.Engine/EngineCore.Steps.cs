using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <content>What a step computes, and what its results do to the sequences.</content>
public sealed partial class EngineCore
{
    // With more rows the expanded form costs fewer operations, its keys and values included: K2's break-even is 171.
    private const int AbsorbedRowsMax = 128;

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

        PlanPrefill();
        if (_live.Count == 0 && _loads.Count == 0)
        {
            PlanSettling(_options.PrefillChunkTokens);
        }
    }

    private void PlanPrefill()
    {
        SharePrefill(_options.PrefillChunkTokens);
        foreach (var sequence in _running)
        {
            if (sequence.State == SequenceState.Prefill && sequence.Tenant.Grant > 0)
            {
                var count = Math.Min(sequence.Tenant.Grant, sequence.PromptLength - sequence.ComputedTokens);
                var sample = sequence.ComputedTokens + count == sequence.TokenCount;
                _plan.Add(new StepSlice(sequence, sequence.ComputedTokens, count, SliceKind.Prefill, sample)
                {
                    AbsorbedRows = Math.Clamp(sequence.ComputedTokens + count - ExpandedEnd(sequence), 0, count),
                });
                sequence.Tenant.Grant -= count;
            }
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

    /// <summary>
    /// Where a prompt's absorbed tail begins. It depends on the prompt's length alone, so that the chunks it is cut
    /// into and what of it is cached change no bit.
    /// </summary>
    private int ExpandedEnd(Sequence sequence)
    {
        var fullBlocksEnd = FullBlocksEnd(sequence.PromptLength);
        var isShort = sequence.PromptLength - fullBlocksEnd <= AbsorbedRowsMax;
        return isShort ? fullBlocksEnd : sequence.PromptLength;
    }

    private int SettledEnd(Sequence sequence) => FullBlocksEnd(sequence.TokenCount);

    private int FullBlocksEnd(int tokens) => tokens / _layout.BlockTokens * _layout.BlockTokens;

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
            _counters.GeneratedTokens += sequence.IsStop(sampled.TokenId) ? 0 : 1;
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
            _counters.PromptTokens += sequence.PromptLength;
            _counters.CachedTokens += sequence.CachedTokens;
            ReportPrefill(sequence);
        }

        if (TryBeginSwapIn(sequence))
        {
            _running.Remove(sequence);
            return;
        }

        FinishIfFull(sequence);
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

    private void ReportProgress(Sequence sequence)
    {
        if (sequence.ReportProgress && !sequence.PrefillReported)
        {
            _events.Add(PrefillEvent(EngineEventKind.PrefillProgressed, sequence));
        }
    }

    private void ReportPrefill(Sequence sequence)
    {
        sequence.PrefillReported = true;
        RetainPrompt(sequence);
        _events.Add(PrefillEvent(EngineEventKind.PrefillFinished, sequence));
    }

    private static EngineEvent PrefillEvent(EngineEventKind kind, Sequence sequence) => new(kind, sequence.Id)
    {
        PromptTokens = sequence.PromptLength,
        CachedTokens = sequence.CachedTokens,
        ProcessedTokens = sequence.ComputedTokens,
    };
}
