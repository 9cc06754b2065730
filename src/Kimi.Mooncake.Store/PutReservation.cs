using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Room in the memory tier for one block that is being written, by this process or by a peer. Nothing of it can be
/// found before the commit, and nothing of it changes after. Not to be used by two threads at once.
/// </summary>
public sealed class PutReservation : IDisposable
{
    private readonly KvBlockStore _store;
    private int _slot;

    internal PutReservation(
        KvBlockStore store, in BlockKey key, in BlockKey parent, BlockAttributes attributes, int slot)
    {
        _store = store;
        Key = key;
        Parent = parent;
        Attributes = attributes;
        _slot = slot;
    }

    /// <summary>Key of the block.</summary>
    public BlockKey Key { get; }

    /// <summary>Where the block goes: exactly <see cref="KvBlockStore.BlockBytes"/> bytes.</summary>
    /// <exception cref="ObjectDisposedException">The reservation has ended.</exception>
    public unsafe Span<byte> Block
    {
        get
        {
            ObjectDisposedException.ThrowIf(_slot < 0, this);
            return new Span<byte>(_store.SlotPointer(_slot), _store.BlockBytes);
        }
    }

    internal BlockKey Parent { get; }

    internal BlockAttributes Attributes { get; }

    /// <summary>
    /// Stores the block and ends the reservation; it can be read at once. May wait for the disk up to
    /// <see cref="KvBlockStoreOptions.PutWaitMsMax"/>.
    /// </summary>
    /// <returns>What became of it.</returns>
    /// <exception cref="ObjectDisposedException">The reservation has ended.</exception>
    public PutResult Commit() => Commit([]);

    /// <summary>As <see cref="Commit()"/>, of a block that is copied and checked in one go.</summary>
    internal PutResult Commit(ReadOnlySpan<byte> block)
    {
        var slot = _slot;
        ObjectDisposedException.ThrowIf(slot < 0, this);
        _slot = -1;
        return _store.Commit(this, slot, block);
    }

    /// <summary>Gives the room back unless the block was committed.</summary>
    public void Dispose()
    {
        var slot = _slot;
        _slot = -1;
        if (slot >= 0)
        {
            _store.Abandon(this, slot);
        }
    }
}
