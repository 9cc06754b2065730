using System.Diagnostics.CodeAnalysis;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Putting blocks, at once or in two phases.</content>
public sealed partial class KvBlockStore
{
    /// <summary>Stores a block; it can be read at once and survives the process after the next flush.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Key of the block before it; kept with the block. Default or its own: none.</param>
    /// <param name="block">Exactly <see cref="BlockBytes"/> bytes.</param>
    /// <param name="attributes">
    /// Whose it is and how long it is kept; null: <see cref="BlockAttributes.Default"/>.
    /// </param>
    /// <returns>
    /// What became of it. May wait up to <see cref="KvBlockStoreOptions.PutWaitMsMax"/> for the disk.
    /// </returns>
    public PutResult Put(
        BlockKey key, BlockKey parent, ReadOnlySpan<byte> block, BlockAttributes? attributes = null)
    {
        CheckLength(block.Length, nameof(block));
        if (!TryReserve(key, parent, attributes ?? BlockAttributes.Default, out var reservation, out var refused))
        {
            return refused;
        }

        using (reservation)
        {
            return reservation.Commit(block);
        }
    }

    /// <summary>Begins a put in two phases: room for the block, which the caller fills and commits.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Key of the block before it; kept with the block. Default or its own: none.</param>
    /// <param name="attributes">Whose it is and how long it is kept.</param>
    /// <param name="reservation">The room; to be disposed. Nobody else can put this key meanwhile.</param>
    /// <param name="refused">Why there is none: a duplicate, whose retention is strengthened, or refused.</param>
    /// <returns>Whether there is room. May wait as <see cref="Put"/> does.</returns>
    /// <exception cref="ArgumentException">The tenant's name has more than 120 bytes in UTF-8.</exception>
    public bool TryReserve(
        BlockKey key, BlockKey parent, BlockAttributes attributes,
        [NotNullWhen(true)] out PutReservation? reservation, out PutResult refused)
    {
        ArgumentNullException.ThrowIfNull(attributes);
        CheckTenant(attributes.Tenant);
        reservation = null;
        Enter();
        try
        {
            if (!TryClaim(key, attributes))
            {
                Interlocked.Increment(ref _counters.Duplicates);
                refused = PutResult.Duplicate;
                return false;
            }

            var slot = _writer.IsRefusing ? MemorySlots.None : _writer.TakeSlot();
            if (slot < 0)
            {
                Unclaim(key);
                Interlocked.Increment(ref _counters.RefusedDisk);
                refused = PutResult.Refused;
                return false;
            }

            reservation = new PutReservation(this, key, parent, attributes, slot);
            // Until the reservation ends the store stays open.
            Interlocked.Increment(ref _active);
            refused = PutResult.Stored;
            return true;
        }
        finally
        {
            Exit();
        }
    }

    internal unsafe byte* SlotPointer(int slot) => _catalog.Slots.Pointer(slot);

    /// <summary>Stores the block that a reservation's slot holds, or that is copied there first.</summary>
    internal PutResult Commit(PutReservation reservation, int slot, ReadOnlySpan<byte> block)
    {
        var stored = false;
        try
        {
            if (block.IsEmpty)
            {
                Seal(slot);
            }
            else
            {
                CopyIn(block, slot);
            }

            _catalog.TenantNames.Add(reservation.Attributes.Tenant);
            stored = _writer.TryStore(reservation.Key, reservation.Parent, slot, reservation.Attributes);
        }
        finally
        {
            Unclaim(reservation.Key);
            if (stored)
            {
                Interlocked.Increment(ref _counters.Puts);
            }

            _catalog.Events.Tell();
            Exit();
        }

        return stored ? PutResult.Stored : PutResult.Refused;
    }

    internal void Abandon(PutReservation reservation, int slot)
    {
        Unpin(slot);
        Unclaim(reservation.Key);
        Exit();
    }

    private static void CheckTenant(string tenant)
    {
        if (Encoding.UTF8.GetByteCount(tenant) > BlockRecord.TenantBytesMax)
        {
            throw new ArgumentException(
                $"the tenant's name '{tenant}' has more than {BlockRecord.TenantBytesMax} bytes in UTF-8",
                nameof(tenant));
        }
    }

    /// <summary>Notes the checksums of what lies in a pinned slot.</summary>
    private unsafe void Seal(int slot)
    {
        var bytes = _geometry.LayerBytes;
        var memory = new ReadOnlySpan<byte>(_catalog.Slots.Pointer(slot), BlockBytes);
        var checksums = _catalog.Slots.Checksums(slot);
        for (var layer = 0; layer < checksums.Length; layer++)
        {
            checksums[layer] = Crc32C.Finish(
                Crc32C.Append(Crc32C.Start, memory.Slice(layer * bytes, bytes)));
        }
    }

    private bool TryClaim(in BlockKey key, BlockAttributes attributes)
    {
        lock (_catalog.Gate)
        {
            if (_catalog.Find(key) is >= 0 and var id)
            {
                _catalog.Retain(id, attributes.Retention, _catalog.NowMs);
                return false;
            }

            if (_storing.TryAdd(key, null))
            {
                return true;
            }

            // Somebody else is putting it: what is promised here holds once it is there.
            (_storing[key] ??= []).Add(attributes.Retention);
            return false;
        }
    }

    private void Unclaim(in BlockKey key)
    {
        lock (_catalog.Gate)
        {
            if (_storing.Remove(key, out var promised) && promised is not null &&
                _catalog.Find(key) is >= 0 and var id)
            {
                foreach (var retention in promised)
                {
                    _catalog.Retain(id, retention, _catalog.NowMs);
                }
            }
        }
    }
}
