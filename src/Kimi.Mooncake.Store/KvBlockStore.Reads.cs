using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Reading.</content>
public sealed partial class KvBlockStore
{
    // A block that is moved while it is read is looked up again, this often.
    private const int ReadAttemptsMax = 3;

    private enum ReadOutcome
    {
        Hit,
        Miss,
        LookAgain,
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
        return TryGetPart(key, 0, destination);
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

        return TryGetPart(key, firstLayer, destination);
    }

    private bool TryGetPart(in BlockKey key, int firstLayer, Span<byte> destination)
    {
        Enter();
        try
        {
            for (var attempt = 0; attempt < ReadAttemptsMax; attempt++)
            {
                switch (TryRead(key, firstLayer, destination))
                {
                    case ReadOutcome.Hit:
                        return true;
                    case ReadOutcome.LookAgain:
                        continue;
                    case ReadOutcome.Miss:
                        break;
                }

                break;
            }

            Interlocked.Increment(ref _counters.Misses);
            return false;
        }
        finally
        {
            Exit();
        }
    }

    private ReadOutcome TryRead(in BlockKey key, int firstLayer, Span<byte> destination)
    {
        int slot;
        long address;
        bool keep;
        lock (_catalog.Gate)
        {
            var id = _catalog.Find(key);
            if (id < 0)
            {
                return ReadOutcome.Miss;
            }

            var now = _catalog.NowMs;
            _catalog.Index.Use(id, now);
            ref var block = ref _catalog.Index.Data(id);
            address = block.Address;
            slot = block.Slot;
            if (slot != StoredBlock.NoSlot)
            {
                _catalog.Slots.Pin(slot);
            }
            else
            {
                _catalog.Index.Lease(id, now + _options.ReadLeaseMs);
                block.DiskReads = (byte)Math.Min(block.DiskReads + 1, byte.MaxValue);
            }

            keep = block.DiskReads >= _options.PromoteAfterReads && destination.Length == BlockBytes;
        }

        return slot == StoredBlock.NoSlot
            ? ReadFromDisk(key, address, firstLayer, destination, keep)
            : ReadFromMemory(key, address, slot, firstLayer, destination);
    }

    private ReadOutcome ReadFromMemory(
        in BlockKey key, long address, int slot, int firstLayer, Span<byte> destination)
    {
        var intact = TryCopy(slot, firstLayer, destination);
        Unpin(slot);
        if (!intact)
        {
            return RemoveUnreadable(key, address, Loss.Damaged);
        }

        Interlocked.Increment(ref _counters.MemoryHits);
        return ReadOutcome.Hit;
    }

    /// <summary>Copies layers out of a pinned slot and checks what was copied.</summary>
    private unsafe bool TryCopy(int slot, int firstLayer, Span<byte> destination)
    {
        var bytes = _geometry.LayerBytes;
        var source = new ReadOnlySpan<byte>(_catalog.Slots.Pointer(slot), BlockBytes)[(firstLayer * bytes)..];
        var checksums = _catalog.Slots.Checksums(slot)[firstLayer..];
        for (var layer = 0; layer < destination.Length / bytes; layer++)
        {
            var part = destination.Slice(layer * bytes, bytes);
            if (Crc32C.Finish(Crc32C.Copy(Crc32C.Start, source.Slice(layer * bytes, bytes), part)) !=
                checksums[layer])
            {
                return false;
            }
        }

        return true;
    }

    private ReadOutcome ReadFromDisk(
        in BlockKey key, long address, int firstLayer, Span<byte> destination, bool keep)
    {
        var read = _reader.Read(address, key, firstLayer, destination);
        if (read != RecordRead.Intact)
        {
            return RemoveUnreadable(key, address, read == RecordRead.Damaged ? Loss.Damaged : Loss.DiskFailed);
        }

        Interlocked.Increment(ref _counters.DiskHits);
        if (keep)
        {
            KeepInMemory(key, address, destination);
        }

        return ReadOutcome.Hit;
    }

    private ReadOutcome RemoveUnreadable(in BlockKey key, long address, Loss loss)
    {
        lock (_catalog.Gate)
        {
            if (_catalog.FindAt(key, address) is not (>= 0 and var id))
            {
                return ReadOutcome.LookAgain;
            }

            _catalog.Remove(id, loss);
        }

        if (loss == Loss.DiskFailed)
        {
            Interlocked.Increment(ref _counters.ReadFailures);
        }

        StoreMessages.BlockDamaged(_logger, new BlockKeyText(key));
        _catalog.Events.Tell();
        return ReadOutcome.Miss;
    }

    private unsafe void KeepInMemory(in BlockKey key, long address, ReadOnlySpan<byte> payload)
    {
        int slot;
        lock (_catalog.Gate)
        {
            slot = _catalog.Slots.TakeFree();
            if (slot < 0 && _catalog.TryDemote())
            {
                slot = _catalog.Slots.TakeFree();
            }
        }

        if (slot < 0)
        {
            return;
        }

        CopyIn(payload, slot);
        lock (_catalog.Gate)
        {
            if (_catalog.FindAt(key, address) is >= 0 and var id &&
                _catalog.Index.Data(id).Slot == StoredBlock.NoSlot)
            {
                _catalog.Own(slot, id);
                _counters.Promoted++;
            }

            _catalog.Slots.Unpin(slot);
        }
    }

    /// <summary>Copies a block into a pinned slot and notes its layers' checksums.</summary>
    private unsafe void CopyIn(ReadOnlySpan<byte> block, int slot)
    {
        var bytes = _geometry.LayerBytes;
        var memory = new Span<byte>(_catalog.Slots.Pointer(slot), BlockBytes);
        var checksums = _catalog.Slots.Checksums(slot);
        for (var layer = 0; layer < checksums.Length; layer++)
        {
            checksums[layer] = Crc32C.Finish(
                Crc32C.Copy(Crc32C.Start, block.Slice(layer * bytes, bytes), memory.Slice(layer * bytes, bytes)));
        }
    }

    private void Unpin(int slot)
    {
        lock (_catalog.Gate)
        {
            _catalog.Slots.Unpin(slot);
        }
    }
}
