using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Copies of the blocks of a segment.</content>
internal sealed partial class StoreCompactor
{
    /// <summary>Blocks that are still to be moved, after those taken last; false when there are none.</summary>
    private bool Take(Segment segment, List<(BlockKey Key, long Address)> keys)
    {
        lock (_catalog.Gate)
        {
            var last = keys.Count > 0 ? _catalog.FindAt(keys[^1].Key, keys[^1].Address) : -1;
            keys.Clear();
            var id = last >= 0 ? _catalog.Index.Data(last).Next : segment.First;
            while (id >= 0 && keys.Count < BatchStep)
            {
                ref var block = ref _catalog.Index.Data(id);
                // What is not durable yet may not be on disk at all: the flush that finds out decides.
                if ((block.Marks & (BlockMarks.Moving | BlockMarks.Durable)) == BlockMarks.Durable)
                {
                    block.Marks |= BlockMarks.Moving;
                    keys.Add((_catalog.Index.KeyOf(id), block.Address));
                }

                id = block.Next;
            }
        }

        return keys.Count > 0;
    }

    /// <summary>Appends copies of blocks; false when the log had no room for one. The others stay.</summary>
    private async ValueTask<bool> MoveAsync(
        List<(BlockKey Key, long Address)> keys, CancellationToken cancellationToken)
    {
        var done = 0;
        try
        {
            while (done < keys.Count)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!await MoveAsync(keys[done].Key, keys[done].Address, cancellationToken).ConfigureAwait(false))
                {
                    return false;
                }

                done++;
            }

            return true;
        }
        finally
        {
            // No copy of these is on its way.
            foreach (var (key, address) in keys.Skip(done))
            {
                _writer.GiveUpMove(key, address);
            }
        }
    }

    /// <summary>Appends a copy of a block; false when the log has no room for it.</summary>
    private async ValueTask<bool> MoveAsync(BlockKey key, long address, CancellationToken cancellationToken)
    {
        var read = _reader.ReadRaw(address, key, _header, _stored, out var storedBytes);
        if (read != RecordRead.Intact)
        {
            lock (_catalog.Gate)
            {
                if (_catalog.FindAt(key, address) is >= 0 and var id)
                {
                    StoreMessages.BlockDamaged(_logger, new BlockKeyText(key));
                    _catalog.Remove(id, read == RecordRead.Damaged ? Loss.Damaged : Loss.DiskFailed);
                }
            }

            return true;
        }

        for (var attempt = 0; attempt < 2; attempt++)
        {
            if (TryAppend(key, address, storedBytes))
            {
                return true;
            }

            // The write buffer is full.
            await _writer.FlushAsync(cancellationToken).ConfigureAwait(false);
        }

        return false;
    }

    private unsafe bool TryAppend(in BlockKey key, long address, int storedBytes)
    {
        fixed (byte* header = _header, stored = _stored)
        {
            return _writer.TryAppendMove(key, address, header, stored, storedBytes);
        }
    }
}
