using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Reading runs of blocks.</content>
public sealed partial class KvBlockStore
{
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
