using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

/// <content>Publication and release of a sequence's blocks.</content>
public sealed partial class EngineCore
{
    /// <summary>
    /// Puts the first <paramref name="blockCount"/> blocks of a sequence into the prefix tree. Where somebody else
    /// published a key first, the sequence goes on with that block, which holds the same bits, and gives its own back:
    /// with both, it could need more blocks than the pool has. An export, which needs no further block, keeps its own
    /// too, because a transfer may be reading it.
    /// </summary>
    private void Publish(Sequence sequence, int blockCount, bool fromStore)
    {
        for (var i = sequence.PublishedBlocks; i < blockCount; i++)
        {
            var key = sequence.Keys.Keys[i];
            var parent = i == 0 ? PrefixTree.None : sequence.Blocks[i - 1];
            var own = sequence.Blocks[i];
            var node = _pool.Publish(own, key, parent);
            if (node == own)
            {
                _saves?.Published(node, fromStore);
            }
            else
            {
                sequence.Blocks.Replace(i, node);
                if (sequence.IsExported)
                {
                    sequence.Replaced.Append(own);
                }
                else
                {
                    _pool.Release(own);
                }
            }

            sequence.PublishedBlocks++;
            OfferToStore(sequence, i);
            ForgetInFlight(sequence, key);
        }
    }

    private void OfferToStore(Sequence sequence, int block) =>
        _saves?.Offer(sequence.Keys, block, sequence.Blocks[block], sequence.Attributes[block]);

    /// <summary>
    /// Has the blocks of a complete prompt kept as long as was asked, as far as no save of this sequence says so.
    /// </summary>
    private void RetainPrompt(Sequence sequence)
    {
        var count = _saves is null ? 0 : Math.Min(sequence.Attributes.RetainedBlocks, sequence.PublishedBlocks);
        for (var first = 0; first < count;)
        {
            var end = Math.Min(sequence.Attributes.RunEnd(first), count);
            _saves!.Retain(sequence.Keys, first, sequence.BlockIds[first..end], sequence.Attributes[first]);
            first = end;
        }
    }

    private void End(Sequence sequence)
    {
        sequence.State = SequenceState.Ended;
        DropSwap(sequence);
        Release(sequence);
    }

    /// <summary>Gives all blocks of a sequence back, its tail first, and lets others make what it was making.</summary>
    private void Release(Sequence sequence)
    {
        ForgetInFlight(sequence);
        Release(sequence.Blocks);
        Release(sequence.Replaced);
        sequence.PublishedBlocks = 0;
        sequence.ComputedTokens = 0;
    }

    private void Release(BlockTable table)
    {
        for (var i = table.Count - 1; i >= 0; i--)
        {
            _pool.Release(table[i]);
        }

        table.Clear();
    }

    private void ForgetInFlight(Sequence sequence)
    {
        var keys = sequence.Keys.Keys;
        for (var i = sequence.PublishedBlocks; i < sequence.PromptLength / _layout.BlockTokens; i++)
        {
            ForgetInFlight(sequence, keys[i]);
        }
    }

    private void ForgetInFlight(Sequence sequence, in BlockKey key)
    {
        if (_inFlight.TryGetValue(key, out var maker) && maker == sequence)
        {
            _inFlight.Remove(key);
        }
    }
}
