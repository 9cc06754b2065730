using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Looking up and reading.</content>
public sealed partial class KvBlockStore
{
    // A block that is moved while it is read is looked up again, this often.
    private const int ReadAttemptsMax = 3;

    // Keys looked up under the lock at a time, so that nobody else waits long.
    private const int LookUpStep = 1024;

    private enum ReadOutcome
    {
        Hit,
        Miss,
        LookAgain,
    }

    /// <summary>Whether a block is stored. It may still turn out damaged, or be dropped, before it is read.</summary>
    public bool Contains(BlockKey key)
    {
        lock (_catalog.Gate)
        {
            return _catalog.Find(key) >= 0;
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

        Span<int> ids = stackalloc int[LookUpStep];
        for (var at = 0; at < keys.Length; at += LookUpStep)
        {
            var part = keys.Slice(at, Math.Min(LookUpStep, keys.Length - at));
            lock (_catalog.Gate)
            {
                _catalog.Index.FindAll(part, ids[..part.Length], _catalog.NowMs);
            }

            for (var i = 0; i < part.Length; i++)
            {
                found[at + i] = ids[i] >= 0;
            }
        }
    }

    /// <summary>How many of the first keys are stored, without a gap. In memory, without side effect.</summary>
    public int CountStored(ReadOnlySpan<BlockKey> keys)
    {
        var count = 0;
        while (count < keys.Length)
        {
            var part = keys.Slice(count, Math.Min(LookUpStep, keys.Length - count));
            int found;
            lock (_catalog.Gate)
            {
                found = _catalog.Index.FindPrefix(part, _catalog.NowMs);
            }

            count += found;
            if (found < part.Length)
            {
                break;
            }
        }

        return count;
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

    /// <summary>
    /// Reads the leading blocks that are stored. They are leased while that lasts, and what lies on disk is asked for
    /// ahead.
    /// </summary>
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

        Enter();
        try
        {
            var stored = keys[..CountStored(keys)];
            var ahead = new ReadAhead(this, stored);
            var read = 0;
            while (read < stored.Length)
            {
                ahead.Advance(read);
                if (!TryGet(stored[read], new Span<byte>((void*)destinations[read], BlockBytes)))
                {
                    return read;
                }

                read++;
            }

            if (read < keys.Length)
            {
                Interlocked.Increment(ref _counters.Misses);
            }

            return read;
        }
        finally
        {
            Exit();
        }
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

    /// <summary>Leases the blocks of a long read step by step, and asks the disk for them ahead.</summary>
    private ref struct ReadAhead(KvBlockStore store, ReadOnlySpan<BlockKey> keys)
    {
        private const int StepBlocks = 16;

        private readonly ReadOnlySpan<BlockKey> _keys = keys;
        private int _asked;
        private long _last = StoredBlock.Nowhere;

        /// <summary>Call before each read.</summary>
        public void Advance(int next)
        {
            // In steps, so that the requests are large.
            var blocks = (int)Math.Max(1, store._options.ReadAheadBytes / store.BlockBytes);
            if (_asked == _keys.Length || _asked - next > blocks / 2)
            {
                return;
            }

            var end = (int)Math.Min(_keys.Length, next + (long)blocks);
            Span<long> addresses = stackalloc long[StepBlocks];
            while (_asked < end)
            {
                var part = _keys[_asked..Math.Min(end, _asked + StepBlocks)];
                store.LeaseForRead(part, addresses);
                foreach (var address in addresses[..part.Length])
                {
                    Ask(address);
                }

                _asked += part.Length;
            }
        }

        // What follows in the file on what was read before the system reads ahead by itself, and better.
        private void Ask(long address)
        {
            var bytes = store._geometry.EntryBytes;
            var follows = address > _last && address <= _last + (2 * bytes);
            if (address >= 0 && !follows && store._options.ReadAheadBytes > 0)
            {
                store._device.ReadAhead(address, bytes);
            }

            _last = address;
        }
    }

    private void LeaseForRead(ReadOnlySpan<BlockKey> keys, Span<long> addresses)
    {
        lock (_catalog.Gate)
        {
            var now = _catalog.NowMs;
            for (var i = 0; i < keys.Length; i++)
            {
                addresses[i] = StoredBlock.Nowhere;
                if (_catalog.Find(keys[i]) is >= 0 and var id)
                {
                    _catalog.Index.Lease(id, now + _options.ReadLeaseMs);
                    ref readonly var block = ref _catalog.Index.Data(id);
                    addresses[i] = block.Slot == StoredBlock.NoSlot ? block.Address : StoredBlock.Nowhere;
                }
            }
        }
    }
}
