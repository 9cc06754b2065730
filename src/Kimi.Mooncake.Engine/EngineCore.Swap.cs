namespace Kimi.Mooncake.Engine;

/// <content>
/// Generated tokens of preempted sequences, put aside and brought back. Full blocks of the prompt are not swapped: they
/// are published, so that the prefix tree and the store keep them, once for all sequences that share them.
/// </content>
public sealed partial class EngineCore
{
    /// <summary>Replaces the rates that the options gave by measured ones.</summary>
    /// <param name="rates">Both above 0.</param>
    public void UseRates(in PreemptionRates rates)
    {
        if (rates is { SwapBytesPerSecond: > 0, ReplayTokenSeconds: > 0 })
        {
            _rates = rates;
            return;
        }

        throw new ArgumentOutOfRangeException(nameof(rates), rates, "rates are above 0");
    }

    private bool TryBeginSwapOut(Sequence sequence)
    {
        var tokens = sequence.ComputedTokens - sequence.PromptLength;
        var first = sequence.PromptLength / _layout.BlockTokens;
        var count = BlocksFor(sequence.ComputedTokens) - first;
        if (tokens <= 0 || !IsSwapWanted(count, tokens))
        {
            return false;
        }

        var blockIds = sequence.BlockIds.Slice(first, count).ToArray();
        var ticket = _connector!.BeginSwapOut(sequence.Id, blockIds);
        if (ticket < 0)
        {
            return false;
        }

        for (var i = sequence.Blocks.Count - 1; i >= 0; i--)
        {
            if (i < first || i >= first + count)
            {
                _pool.Release(sequence.Blocks[i]);
            }
        }

        _counters.SwapsBegun++;
        sequence.SwappedTokens = sequence.ComputedTokens;
        sequence.State = SequenceState.SwappingOut;
        sequence.Blocks.Clear();
        sequence.PublishedBlocks = 0;
        sequence.ComputedTokens = 0;
        _swapOuts.Add(ticket, new SwapOut(sequence, blockIds));
        return true;
    }

    private bool IsSwapWanted(int blocks, int tokens) => _options.Preemption switch
    {
        _ when _connector is not { CanSwap: true } => false,
        PreemptionMode.Recompute => false,
        PreemptionMode.Swap => true,
        _ => _rates.SwapIsFaster((long)blocks * _layout.BytesPerBlock, tokens),
    };

    /// <summary>Brings generated tokens back, once all full blocks of the prompt are there.</summary>
    private bool TryBeginSwapIn(Sequence sequence)
    {
        var first = sequence.PromptLength / _layout.BlockTokens;
        if (sequence.SwappedTokens == 0 || sequence.PublishedBlocks < first)
        {
            return false;
        }

        var blockIds = sequence.BlockIds[first..BlocksFor(sequence.SwappedTokens)];
        var ticket = _connector!.BeginSwapIn(sequence.Id, blockIds);
        if (ticket < 0)
        {
            _counters.SwapsFailed++;
            DropSwap(sequence);
            return false;
        }

        sequence.State = SequenceState.SwappingIn;
        _swapIns.Add(ticket, sequence);
        return true;
    }

    private bool TryCompleteSwap(KvTransferDone done)
    {
        if (_swapOuts.Remove(done.Ticket, out var swap))
        {
            CompleteSwapOut(swap, done.BlocksDone == swap.BlockIds.Length);
            return true;
        }

        if (_swapIns.Remove(done.Ticket, out var sequence))
        {
            var blocks = BlocksFor(sequence.SwappedTokens) - (sequence.PromptLength / _layout.BlockTokens);
            CompleteSwapIn(sequence, done.BlocksDone == blocks);
            return true;
        }

        return false;
    }

    private void CompleteSwapOut(SwapOut swap, bool isComplete)
    {
        foreach (var blockId in swap.BlockIds)
        {
            _pool.Release(blockId);
        }

        var sequence = swap.Sequence;
        if (sequence.Cancelled)
        {
            End(sequence);
            return;
        }

        sequence.State = SequenceState.Waiting;
        if (!isComplete)
        {
            _counters.SwapsFailed++;
            DropSwap(sequence);
        }
    }

    private void CompleteSwapIn(Sequence sequence, bool isComplete)
    {
        if (sequence.Cancelled)
        {
            End(sequence);
            return;
        }

        // After a failure anything may be in the blocks that are not published.
        sequence.ComputedTokens =
            isComplete ? sequence.SwappedTokens : sequence.PublishedBlocks * _layout.BlockTokens;
        _counters.SwappedTokens += isComplete ? sequence.SwappedTokens - sequence.PromptLength : 0;
        _counters.SwapsFailed += isComplete ? 0 : 1;
        DropSwap(sequence);
        sequence.State =
            sequence.ComputedTokens < sequence.PromptLength ? SequenceState.Prefill : SequenceState.Decode;
        InsertByArrival(_running, sequence);
    }

    private void DropSwap(Sequence sequence)
    {
        if (sequence.SwappedTokens > 0)
        {
            _connector!.DropSwap(sequence.Id);
            sequence.SwappedTokens = 0;
        }
    }

    private sealed record SwapOut(Sequence Sequence, int[] BlockIds);
}
