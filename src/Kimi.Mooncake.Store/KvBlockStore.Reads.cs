using System.Buffers;
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

    /// <summary>Which of many blocks are stored; as <see cref="Contains(BlockKey)"/> for each.</summary>
    /// <param name="keys">Any keys.</param>
    /// <param name="found">One answer for each key.</param>
    /// <exception cref="ArgumentException">There is not one answer for each key.</exception>
    public void Contains(ReadOnlySpan<BlockKey> keys, Span<bool> found)
    {
        if (keys.Length != found.Length)
        {
            throw new ArgumentException($"{keys.Length} keys need as many answers, not {found.Length}", nameof(found));
        }

        lock (_catalog.Gate)
        {
            for (var i = 0; i < keys.Length; i++)
            {
                found[i] = _catalog.Find(keys[i]) is not null;
            }
        }
    }

    /// <summary>Reads the leading blocks that are stored.</summary>
    /// <param name="keys">Keys in the order of the prefix.</param>
    /// <param name="destinations">For each key the address of <see cref="BlockBytes"/> bytes.</param>
    /// <returns>How many were read; what lies at the destinations after them is undefined.</returns>
    /// <exception cref="ArgumentException">There is not one destination for each key.</exception>
    public unsafe int TryGetMany(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<nint> destinations)
    {
        if (keys.Length != destinations.Length)
        {
            throw new ArgumentException(
                $"{keys.Length} keys need as many destinations, not {destinations.Length}", nameof(destinations));
        }

        var read = 0;
        while (read < keys.Length && TryGet(keys[read], new Span<byte>((void*)destinations[read], BlockBytes)))
        {
            read++;
        }

        return read;
    }

    /// <summary>Reads some layers of a block, checked by their own checksums.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="firstLayer">The first layer to read, from 0.</param>
    /// <param name="layerCount">How many, at least 1.</param>
    /// <param name="destination">Exactly as many bytes as these layers have.</param>
    /// <returns>As <see cref="TryGet"/>.</returns>
    /// <exception cref="ArgumentException">The layout has no such layers, or the length is wrong.</exception>
    public bool TryGetLayers(BlockKey key, int firstLayer, int layerCount, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstLayer);
        ArgumentOutOfRangeException.ThrowIfLessThan(layerCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layerCount, _geometry.LayerCount - firstLayer);
        if (destination.Length != layerCount * _geometry.LayerBytes)
        {
            throw new ArgumentException(
                $"{layerCount} layers have {layerCount * _geometry.LayerBytes} bytes, not {destination.Length}",
                nameof(destination));
        }

        var block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        var found = TryGet(key, block.AsSpan(0, BlockBytes));
        block.AsSpan(firstLayer * _geometry.LayerBytes, destination.Length).CopyTo(destination);
        ArrayPool<byte>.Shared.Return(block);
        return found;
    }

    /// <summary>How far the store is with finding what earlier runs left.</summary>
    public StoreScan Recovering => new(0, _segmentsFound, _counters.Recovered);

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
