namespace Kimi.Mooncake.Store;

/// <content>The log stays within its limit: old segments go, and blocks in use are carried over to its end.</content>
internal sealed partial class StoreWriter
{
    // Blocks in use may fill at most this share of the room that dropping their segment makes.
    private const int RewriteShare = 2;

    /// <summary>Drops old segments until one more record fits; under the append gate.</summary>
    private bool MakeRoom()
    {
        while (!_log.HasRoom)
        {
            if (!TryDropOldest())
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Keeps a segment's worth of the limit free, so that puts need not drop segments themselves, and carries blocks
    /// that are in use over to the end of the log.
    /// </summary>
    private void Trim()
    {
        while (_log.DiskBytes > _geometry.LogBytesMax - _geometry.SegmentBytes &&
            _log.OldestSegment is var oldest and >= 0)
        {
            List<StoredBlock> hot;
            lock (_catalog.Gate)
            {
                hot = _catalog.HotBlocks(oldest);
            }

            var most = (int)(_geometry.SegmentBytes / _geometry.EntryBytes / RewriteShare);
            foreach (var block in hot.Take(most))
            {
                Rewrite(block);
            }

            lock (_appendGate)
            {
                if (_log.OldestSegment == oldest)
                {
                    TryDropOldest();
                }
            }
        }
    }

    private bool TryDropOldest()
    {
        var oldest = _log.OldestSegment;
        if (oldest < 0)
        {
            return false;
        }

        lock (_catalog.Gate)
        {
            foreach (var block in _catalog.TakeSegment(oldest))
            {
                if (_geometry.SegmentOf(block.Address) == oldest && _catalog.IsCurrent(block, block.Address))
                {
                    _catalog.Remove(block.Key);
                    Interlocked.Increment(ref _counters.Evicted);
                }
            }
        }

        _log.DropOldestSegment();
        return true;
    }

    private unsafe void Rewrite(StoredBlock block)
    {
        var address = block.Address;
        var slot = StoredBlock.NoSlot;
        lock (_catalog.Gate)
        {
            if (_catalog.IsCurrent(block, address))
            {
                slot = _catalog.TakeSlot();
            }
        }

        if (slot < 0)
        {
            return;
        }

        var header = stackalloc byte[BlockRecord.HeaderBytes];
        var memory = _catalog.SlotPointer(slot);
        // The record goes on as it was, with its own checksum, so that damage in between cannot be sealed in.
        var intact = _log.TryRead(
            address, block.Key, new Span<byte>(memory, _geometry.PayloadBytes),
            new Span<byte>(header, BlockRecord.HeaderBytes));
        lock (_appendGate)
        {
            var moved = 0L;
            var appended = intact && _log.HasRoom && _log.TryAppend(header, memory, out moved);
            lock (_catalog.Gate)
            {
                if (appended && _catalog.IsCurrent(block, address))
                {
                    if (block.Slot == StoredBlock.NoSlot)
                    {
                        _catalog.Own(slot, block);
                    }

                    _catalog.Move(block, moved);
                    _pending.Add(new Appended(block, moved));
                    Interlocked.Increment(ref _counters.Rewritten);
                }

                _catalog.Unpin(slot);
            }
        }
    }
}
