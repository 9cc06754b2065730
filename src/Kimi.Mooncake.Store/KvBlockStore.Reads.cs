using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Blocks are found, and come back from memory or disk.</content>
public sealed partial class KvBlockStore
{
    // A block that is moved while it is read is looked up again, this often.
    private const int ReadAttemptsMax = 3;

    /// <summary>Whether a block is stored. It may still turn out damaged, or be dropped, before it is read.</summary>
    public bool Contains(BlockKey key)
    {
        lock (_catalog.Gate)
        {
            return _catalog.Find(key) is not null;
        }
    }

    /// <summary>How many of the first keys are stored, without a gap. In memory, without side effect.</summary>
    public int CountStored(ReadOnlySpan<BlockKey> keys)
    {
        lock (_catalog.Gate)
        {
            var count = 0;
            while (count < keys.Length && _catalog.Find(keys[count]) is not null)
            {
                count++;
            }

            return count;
        }
    }

    /// <summary>Reads a block from memory or disk.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="destination">
    /// Exactly <see cref="BlockBytes"/> bytes; holds the block when the result is true, anything when it is false.
    /// </param>
    /// <returns>False when the block is not stored, or was and is damaged: then it is removed and counted.</returns>
    public bool TryGet(BlockKey key, Span<byte> destination)
    {
        CheckLength(destination.Length, nameof(destination));
        Enter();
        try
        {
            for (var attempt = 0; attempt < ReadAttemptsMax; attempt++)
            {
                if (!TryRead(key, destination, out var found))
                {
                    continue;
                }

                if (!found)
                {
                    Interlocked.Increment(ref _counters.Misses);
                }

                return found;
            }

            Interlocked.Increment(ref _counters.Misses);
            return false;
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>One try to read; false when the block moved meanwhile and is to be looked up again.</summary>
    private unsafe bool TryRead(in BlockKey key, Span<byte> destination, out bool found)
    {
        StoredBlock? block;
        int slot;
        long address;
        lock (_catalog.Gate)
        {
            block = _catalog.Find(key);
            found = block is not null;
            if (block is null)
            {
                return true;
            }

            block.Hot = true;
            address = block.Address;
            slot = block.Slot;
            if (slot != StoredBlock.NoSlot)
            {
                _catalog.Pin(slot);
            }
        }

        if (slot != StoredBlock.NoSlot)
        {
            new ReadOnlySpan<byte>(_catalog.SlotPointer(slot), destination.Length).CopyTo(destination);
            Unpin(slot);
            Interlocked.Increment(ref _counters.MemoryHits);
            return true;
        }

        Span<byte> header = stackalloc byte[BlockRecord.HeaderBytes];
        found = _log.TryRead(address, key, destination, header);
        if (found)
        {
            Interlocked.Increment(ref _counters.DiskHits);
            KeepInMemory(block, address, destination);
            return true;
        }

        return RemoveDamaged(block, address);
    }

    private bool RemoveDamaged(StoredBlock block, long address)
    {
        lock (_catalog.Gate)
        {
            if (!_catalog.IsCurrent(block, address))
            {
                return false;
            }

            _catalog.Remove(block.Key);
        }

        Interlocked.Increment(ref _counters.Damaged);
        StoreMessages.BlockDamaged(_logger, new BlockKeyText(block.Key));
        return true;
    }

    private unsafe void KeepInMemory(StoredBlock block, long address, ReadOnlySpan<byte> payload)
    {
        int slot;
        lock (_catalog.Gate)
        {
            slot = block.Slot == StoredBlock.NoSlot ? _catalog.TakeSlot() : StoredBlock.NoSlot;
        }

        if (slot == StoredBlock.NoSlot)
        {
            return;
        }

        payload.CopyTo(new Span<byte>(_catalog.SlotPointer(slot), payload.Length));
        lock (_catalog.Gate)
        {
            if (block.Slot == StoredBlock.NoSlot && _catalog.IsCurrent(block, address))
            {
                _catalog.Own(slot, block);
            }

            _catalog.Unpin(slot);
        }
    }

    private void Unpin(int slot)
    {
        lock (_catalog.Gate)
        {
            _catalog.Unpin(slot);
        }
    }
}
