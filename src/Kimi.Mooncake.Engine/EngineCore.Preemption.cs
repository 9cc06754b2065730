namespace Kimi.Mooncake.Engine;

/// <content>Where memory is short: who gives blocks to whom.</content>
public sealed partial class EngineCore
{
    /// <summary>
    /// Sees to the block of the next token. Where memory is short, settling gives way first, then the youngest running
    /// sequence, which may be this one. Where no other sequence can give way, this one stays as it is until a transfer
    /// or an export gives blocks back.
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

            // What is being put aside gives its blocks back soon.
            var youngest = _swapOuts.Count > 0 ? null : YoungestToPreempt(sequence);
            if (youngest is null)
            {
                return false;
            }

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
    /// The youngest running sequence whose blocks can be taken; null when only that of <paramref name="taker"/> can.
    /// Exports are spared: another worker reads their blocks, and they end by themselves.
    /// </summary>
    private Sequence? YoungestToPreempt(Sequence taker)
    {
        Sequence? youngest = null;
        for (var i = _running.Count - 1; i >= 0; i--)
        {
            if (_running[i].Mode == SequenceMode.PrefillOnly)
            {
                continue;
            }

            youngest ??= _running[i];
            if (_running[i] != taker)
            {
                return youngest;
            }
        }

        return null;
    }

    /// <summary>
    /// Takes a running sequence's blocks. It waits in its place of arrival; when its turn comes, its prompt is
    /// prefilled as far as it is not cached, and its generated tokens are brought back, or decoded once more, each with
    /// the arithmetic of the first time, so that its output does not change.
    /// </summary>
    private void Preempt(Sequence sequence)
    {
        _counters.Preemptions++;
        _running.Remove(sequence);
        if (!TryBeginSwapOut(sequence))
        {
            Release(sequence);
            sequence.State = SequenceState.Waiting;
        }

        InsertByArrival(_waiting, sequence);
        _preemptedWaiting++;
    }
}
