using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>Outcome of a transfer that was begun earlier.</summary>
/// <param name="Ticket">The answer of one of the connector's begin methods; unique over all of them.</param>
/// <param name="BlocksDone">Leading blocks that were moved; fewer than asked when one was missing or damaged.</param>
public readonly record struct KvTransferDone(long Ticket, int BlocksDone);

/// <summary>
/// The engine's way to blocks outside its pool. Nothing here blocks: transfers are begun and polled. The engine keeps
/// the blocks of a transfer held until the transfer is reported done.
/// </summary>
public interface IKvConnector
{
    /// <summary>
    /// How many of the first <paramref name="keys"/>, in order and without a gap, are stored. Has no side effect; a
    /// block may still be gone when it is loaded.
    /// </summary>
    int CountStored(ReadOnlySpan<BlockKey> keys);

    /// <summary>Begins to fill pool blocks from the store.</summary>
    /// <param name="keys">Keys, in prefix order.</param>
    /// <param name="blockIds">Pool blocks to fill, one for each key.</param>
    /// <returns>A ticket, or -1 when the connector can take no more at the moment; the engine then computes.</returns>
    long BeginLoad(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<int> blockIds);

    /// <summary>
    /// Whether there is anywhere to store blocks; may change at any time. Where there is not, none is offered.
    /// </summary>
    bool CanSave { get; }

    /// <summary>Begins to store full pool blocks.</summary>
    /// <param name="keys">Keys of the blocks, in prefix order.</param>
    /// <param name="parentKeys">Key of each block's predecessor; the root key for a first block.</param>
    /// <param name="groupKeys">Key of the first block of each block's placement group: where it goes.</param>
    /// <param name="blockIds">The pool blocks.</param>
    /// <param name="attributes">What comes with each block.</param>
    /// <returns>A ticket, or -1 when the connector can take no more at the moment; the engine may try again.</returns>
    long BeginSave(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<BlockKey> groupKeys,
        ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes);

    /// <summary>
    /// Has blocks that are stored already kept longer than before, never shorter. Those that are not stored are passed
    /// over, and so may all be where too much is to be done.
    /// </summary>
    /// <param name="keys">Keys, in prefix order.</param>
    /// <param name="groupKeys">Key of the first block of each block's placement group.</param>
    /// <param name="retention">How long.</param>
    /// <param name="blockClass">What they belong to.</param>
    void Retain(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> groupKeys, in BlockRetention retention,
        BlockClass blockClass);

    /// <summary>
    /// Says that blocks were used although they were not loaded, so that the store does not take them for forgotten.
    /// May be passed over where too much is to be done.
    /// </summary>
    /// <param name="keys">Keys, in prefix order.</param>
    void Touch(ReadOnlySpan<BlockKey> keys);

    /// <summary>Whether blocks can be swapped out; may change at any time.</summary>
    bool CanSwap { get; }

    /// <summary>
    /// Begins to put the content of blocks aside under a sequence's name, in which it is nobody else's: it has no key.
    /// The engine asks for at most one swap of a sequence before it drops it.
    /// </summary>
    /// <param name="sequenceId">The sequence.</param>
    /// <param name="blockIds">The pool blocks.</param>
    /// <returns>A ticket, or -1 when the connector can take no more at the moment; the engine then computes.</returns>
    long BeginSwapOut(long sequenceId, ReadOnlySpan<int> blockIds);

    /// <summary>Begins to fill pool blocks with what was put aside, and keeps it until it is dropped.</summary>
    /// <param name="sequenceId">The sequence.</param>
    /// <param name="blockIds">As many pool blocks as were swapped out, in the same order.</param>
    /// <returns>A ticket, or -1 when the connector can take no more at the moment; the engine then computes.</returns>
    long BeginSwapIn(long sequenceId, ReadOnlySpan<int> blockIds);

    /// <summary>Forgets what was put aside; no transfer of it is under way.</summary>
    void DropSwap(long sequenceId);

    /// <summary>Takes one finished transfer.</summary>
    bool TryTakeDone(out KvTransferDone done);
}
