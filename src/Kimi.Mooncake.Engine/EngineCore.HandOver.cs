using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

/// <content>Prompts that are computed for other workers or by them, and blocks that peers read.</content>
public sealed partial class EngineCore
{
    private int _peerHeldCount;

    /// <summary>
    /// What entered and left the prefix tree since <see cref="ClearKvEvents"/>, in order; empty unless the engine was
    /// told to record it. Valid until the next call.
    /// </summary>
    public ReadOnlySpan<KvEvent> KvEvents => _pool.Events;

    /// <summary>Forgets the events that were read.</summary>
    public void ClearKvEvents() => _pool.ClearEvents();

    /// <summary>
    /// The pool blocks of a prompt that is being imported, or of one that is or was computed for another worker and
    /// not released: entry i is block i of the prompt. Valid until the next call. Empty when there are none (any more).
    /// </summary>
    /// <param name="sequenceId">The sequence, as its admission named it.</param>
    public ReadOnlySpan<int> BlockIdsOf(long sequenceId)
    {
        if (!_imports.TryGetValue(sequenceId, out var sequence)
            && !_exports.TryGetValue(sequenceId, out sequence)
            && !(_live.TryGetValue(sequenceId, out sequence) && sequence.IsExported))
        {
            return [];
        }

        return sequence.BlockIds[..BlocksFor(sequence.PromptLength)];
    }

    /// <summary>
    /// Takes the prompt of a <see cref="SequenceMode.DecodeOnly"/> sequence as another worker computed it: its full
    /// blocks are published, and the sequence goes on from its first token. From here on nothing else may write into
    /// the blocks. Where the sequence was cancelled its blocks are released; one that is not being imported (any more)
    /// is left alone.
    /// </summary>
    /// <param name="sequenceId">The sequence, as its admission named it.</param>
    /// <param name="prefill">What the other worker says.</param>
    /// <param name="now">The time.</param>
    /// <exception cref="ArgumentException">It says neither a token nor an end, or an impossible number.</exception>
    public void CompleteImport(long sequenceId, in ImportedPrefill prefill, TimeSpan now)
    {
        if (!_imports.TryGetValue(sequenceId, out var sequence))
        {
            return;
        }

        ThrowUnlessPossible(sequence, prefill);
        _imports.Remove(sequenceId);
        _counters.PrefillsImported++;
        _counters.ImportTime += now - sequence.Admitted;
        _counters.ImportedTokens += sequence.PromptLength - (sequence.PublishedBlocks * _layout.BlockTokens);
        Publish(sequence, sequence.PromptLength / _layout.BlockTokens, fromStore: false);
        if (sequence.Cancelled)
        {
            End(sequence);
            return;
        }

        sequence.CachedTokens = prefill.CachedTokens;
        sequence.ComputedTokens = sequence.PromptLength;
        sequence.State = SequenceState.Decode;
        InsertByArrival(_running, sequence);
        ReportPrefill(sequence);
        TakeFirstToken(sequence, prefill);
    }

    /// <summary>
    /// Ends a <see cref="SequenceMode.DecodeOnly"/> sequence whose prompt could not be had from another worker, and
    /// releases its blocks, into which from here on nothing else may write. One that is not being imported (any more)
    /// is left alone.
    /// </summary>
    /// <param name="sequenceId">The sequence, as its admission named it.</param>
    /// <param name="message">Why.</param>
    public void FailImport(long sequenceId, string message)
    {
        if (!_imports.TryGetValue(sequenceId, out var sequence))
        {
            return;
        }

        if (!sequence.Cancelled)
        {
            Finish(sequence, FinishReason.Failed, message);
        }

        _imports.Remove(sequenceId);
        End(sequence);
    }

    /// <summary>
    /// Releases the blocks of a <see cref="SequenceMode.PrefillOnly"/> sequence: nobody reads them any more. One that
    /// has not ended is cancelled; one that holds nothing is left alone.
    /// </summary>
    /// <param name="sequenceId">The sequence, as its admission named it.</param>
    public void ReleaseExport(long sequenceId)
    {
        if (_live.TryGetValue(sequenceId, out var sequence) && sequence.Mode == SequenceMode.PrefillOnly)
        {
            Finish(sequence, FinishReason.Cancelled, null);
        }

        if (_exports.Remove(sequenceId, out sequence))
        {
            End(sequence);
        }
    }

    /// <summary>Holds published blocks, so that a peer can read them, until <see cref="ReleaseHeld"/>.</summary>
    /// <param name="keys">Keys of a sequence, in order, from any of its blocks on.</param>
    /// <param name="blockIds">Is given the block of each key; at least as long as the keys.</param>
    /// <returns>Leading keys whose blocks are there and are held now.</returns>
    public int HoldPublished(ReadOnlySpan<BlockKey> keys, Span<int> blockIds)
    {
        for (var i = 0; i < keys.Length; i++)
        {
            var blockId = _pool.Tree.Find(keys[i]);
            if (blockId == PrefixTree.None)
            {
                return i;
            }

            _pool.Hold(blockId);
            _peerHolds[blockId]++;
            _peerHeldCount++;
            blockIds[i] = blockId;
        }

        return keys.Length;
    }

    /// <summary>Ends one hold of each block.</summary>
    /// <param name="blockIds">Blocks that <see cref="HoldPublished"/> gave.</param>
    /// <exception cref="InvalidOperationException">A block is released more often than it was held.</exception>
    public void ReleaseHeld(ReadOnlySpan<int> blockIds)
    {
        for (var i = blockIds.Length - 1; i >= 0; i--)
        {
            if (_peerHolds[blockIds[i]] == 0)
            {
                throw new InvalidOperationException($"block {blockIds[i]} is not held for a peer");
            }

            _peerHolds[blockIds[i]]--;
            _peerHeldCount--;
            _pool.Release(blockIds[i]);
        }
    }

    private static void ThrowUnlessPossible(Sequence sequence, in ImportedPrefill prefill)
    {
        if (prefill.CachedTokens < 0 || prefill.CachedTokens >= sequence.PromptLength)
        {
            throw new ArgumentException(
                $"{prefill.CachedTokens} cached tokens of a prompt of {sequence.PromptLength}", nameof(prefill));
        }

        if (prefill.FirstToken is null && prefill.Finished is not (FinishReason.Stop or FinishReason.Length))
        {
            throw new ArgumentException("the prefill brought neither a token nor an end", nameof(prefill));
        }
    }

    private void BeginImport(Sequence sequence)
    {
        sequence.CachedTokens = sequence.PublishedBlocks * _layout.BlockTokens;
        sequence.ComputedTokens = sequence.CachedTokens;
        sequence.State = SequenceState.Importing;
        _imports.Add(sequence.Id, sequence);
        _events.Add(PrefillEvent(EngineEventKind.Reserved, sequence));
    }

    private void TakeFirstToken(Sequence sequence, in ImportedPrefill prefill)
    {
        if (sequence.GeneratedCount > 0)
        {
            Resume(sequence, prefill.FirstToken?.TokenId);
        }
        else if (prefill.FirstToken is { } token)
        {
            Accept(sequence, token);
        }
        else
        {
            Finish(sequence, prefill.Finished!.Value, null);
        }
    }

    /// <summary>Goes on after tokens that the caller has had; drawing them again must give the same.</summary>
    private void Resume(Sequence sequence, int? drawn)
    {
        var first = sequence.Tokens[sequence.PromptLength];
        if (drawn != first)
        {
            var now = drawn is null ? "the end" : $"token {drawn}";
            Finish(
                sequence, FinishReason.Failed, $"the generation began with token {first} before, and now with {now}");
        }
        else
        {
            FinishIfFull(sequence);
        }
    }
}
