using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <content>How sequences end, and what is still done for them then.</content>
public sealed partial class EngineCore
{
    private void Accept(Sequence sequence, in SampledToken sampled)
    {
        if (sequence.IsStop(sampled.TokenId))
        {
            Finish(sequence, FinishReason.Stop, null);
            return;
        }

        sequence.Append(sampled.TokenId);
        _events.Add(new EngineEvent(EngineEventKind.TokenGenerated, sequence.Id) { Token = sampled });
        FinishIfFull(sequence);
    }

    private void FinishIfFull(Sequence sequence)
    {
        if (sequence.GeneratedCount == sequence.MaxNewTokens)
        {
            Finish(sequence, FinishReason.Length, null);
        }
    }

    private void Finish(Sequence sequence, FinishReason reason, string? message)
    {
        Count(sequence, reason);
        _live.Remove(sequence.Id);
        LeaveTenant(sequence);
        _events.Add(new EngineEvent(EngineEventKind.Finished, sequence.Id) { Reason = reason, Message = message });
        if (sequence.State is SequenceState.Waiting or SequenceState.SwappingOut)
        {
            _waiting.Remove(sequence);
            _preemptedWaiting -= sequence.WasAdmitted ? 1 : 0;
        }

        if (sequence.State is SequenceState.Loading or SequenceState.Importing
            or SequenceState.SwappingOut or SequenceState.SwappingIn)
        {
            // Something still moves the blocks; they are released when it is done.
            sequence.Cancelled = true;
            return;
        }

        _running.Remove(sequence);

        if (sequence.IsExported)
        {
            sequence.State = SequenceState.Exporting;
            ForgetInFlight(sequence);
            _exports.Add(sequence.Id, sequence);
            return;
        }

        var complete = reason is FinishReason.Stop or FinishReason.Length;
        if (complete && _options.SettleGeneratedBlocks && SettledEnd(sequence) > sequence.PromptLength)
        {
            BeginSettling(sequence);
            return;
        }

        End(sequence);
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
        sequence.ComputedTokens = FullBlocksEnd(sequence.PromptLength);
        sequence.Keys.Extend(sequence.Tokens);
        _settling.Add(sequence);
    }

    private void DropOldestSettling() => DropSettling(_settling[0]);

    private void DropSettling(Sequence sequence)
    {
        _counters.SettlingDropped++;
        _settling.Remove(sequence);
        End(sequence);
    }

    private void Count(Sequence sequence, FinishReason reason)
    {
        switch (reason)
        {
            case FinishReason.Stop or FinishReason.Length when sequence.Mode == SequenceMode.PrefillOnly:
                _counters.PrefillsExported++;
                break;
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

        FinishCancelled(_imports);
        FinishCancelled(_swapIns);
    }

    private void FinishCancelled(Dictionary<long, Sequence> sequences)
    {
        foreach (var sequence in sequences.Values)
        {
            if (!sequence.Cancelled && sequence.Cancellation.IsCancellationRequested)
            {
                Finish(sequence, FinishReason.Cancelled, null);
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
}
