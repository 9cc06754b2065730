using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>How long blocks are kept, and what of it is still to be written.</content>
internal sealed partial class BlockCatalog
{
    // An end that moves by less is not written anew: it may be this much early after a restart.
    private const long AmendStepMs = 1_000;

    private List<Amendment> _amendments = [];

    // Keys that were removed before the scan of older segments met them.
    private HashSet<BlockKey>? _removedEarly = [];

    // Blocks that callers kept otherwise before that, and whether they took pins off.
    private readonly Dictionary<BlockKey, bool> _changedEarly = [];

    // What indexes say of blocks that callers put or kept otherwise before that.
    private readonly Dictionary<BlockKey, StoredRetention> _earlier = [];

    // Durable blocks that the disk did not give, and the segments whose indexes still speak of them.
    private readonly Dictionary<BlockKey, int> _unreadable = [];

    /// <summary>Holds a block longer or more strongly.</summary>
    public void Retain(int id, in BlockRetention retention, long nowMs)
    {
        NoteChanged(id, unpinned: false);
        var before = RetentionOf(id, nowMs);
        Index.Retain(id, retention, nowMs);
        var after = RetentionOf(id, nowMs);
        if (before.Pin != after.Pin || before.Priority != after.Priority ||
            before.PinUntilMs / AmendStepMs != after.PinUntilMs / AmendStepMs ||
            before.ExpiresMs / AmendStepMs != after.ExpiresMs / AmendStepMs)
        {
            Amend(id);
        }
    }

    /// <summary>Sets how a found block is kept, as its index says.</summary>
    public void SetRetention(int id, in StoredRetention retention, long nowMs)
    {
        if (retention.ExpiresMs <= nowMs)
        {
            Drop(id);
            return;
        }

        Index.Unpin(id);
        Index.Retain(id, retention.From(nowMs), nowMs);
    }

    /// <summary>Forgets a found block of which the indexes say that it is no more.</summary>
    public void Drop(int id)
    {
        Remove(id, Loss.Outdated);
        _counters.Recovered--;
    }

    /// <summary>Takes a block's pin off.</summary>
    public void Unpin(int id)
    {
        NoteChanged(id, unpinned: true);
        Index.Unpin(id);
        Amend(id);
    }

    /// <summary>How long a block is kept.</summary>
    public StoredRetention RetentionOf(int id, long nowMs)
    {
        var block = Index.Describe(id, nowMs);
        return new StoredRetention(
            block.Pin, block.Pin == PinKind.None ? 0 : block.PinUntilMs, block.ExpiresMs, block.Priority);
    }

    /// <summary>The entry that says all of a block as it is now.</summary>
    public IndexEntry EntryOf(int id, long address, IndexEntryKind kind, long nowMs)
    {
        ref readonly var block = ref Index.Data(id);
        var segment = _geometry.SegmentOf(address);
        var known = Index.Describe(id, nowMs);
        return new IndexEntry(
            kind, known.Key, known.Parent, (uint)(address - _geometry.SegmentStart(segment)),
            known.Bytes, TenantNames.HashOf(Index.TenantName(known.Tenant)), _geometry.BlockTokens,
            RetentionOf(id, nowMs), nowMs, block.Class,
            (block.Marks & BlockMarks.Compressed) == 0 ? BlockEncoding.Plain : BlockEncoding.ShuffledBrotli);
    }

    /// <summary>Notes that a key was removed, while older segments may still have blocks of it.</summary>
    public void NoteRemoved(in BlockKey key)
    {
        _removedEarly?.Add(key);
        _earlier.Remove(key);
        NoteUnreadable(key);
    }

    /// <summary>Whether a key was removed since the store was opened.</summary>
    public bool WasRemoved(in BlockKey key) => _removedEarly?.Contains(key) ?? false;

    /// <summary>Notes that what a segment's index says of a block is out of date.</summary>
    public void NoteStale(in BlockKey key, int segment) =>
        _amendments.Add(new Amendment(IndexEntryKind.Removed, key, segment));

    /// <summary>Whether a part of what is on disk has not been looked at.</summary>
    public bool IsScanning => _removedEarly is not null;

    /// <summary>Whether a caller changed how a block is kept before all that is on disk was looked at.</summary>
    public bool WasChanged(in BlockKey key) => _changedEarly.ContainsKey(key);

    /// <summary>Notes what an index says of a block that was put or changed since; the last one holds.</summary>
    public void NoteEarlier(in BlockKey key, in StoredRetention retention) => _earlier[key] = retention;

    /// <summary>Notes that an index takes back what older ones said.</summary>
    public void ForgetEarlier(in BlockKey key) => _earlier.Remove(key);

    /// <summary>Keeps some blocks as the last of their older entries says; at the end the scan is over.</summary>
    /// <returns>Whether some are left.</returns>
    public bool SettleEarlier(int count)
    {
        var now = NowMs;
        foreach (var (key, retention) in _earlier.Take(count).ToArray())
        {
            _earlier.Remove(key);
            if (retention.ExpiresMs > now && Find(key) is >= 0 and var id)
            {
                var unpinned = _changedEarly.GetValueOrDefault(key);
                Retain(id, (unpinned ? retention with { Pin = PinKind.None } : retention).From(now), now);
            }
        }

        if (_earlier.Count > 0)
        {
            return true;
        }

        EndScan();
        return false;
    }

    /// <summary>Everything on disk has been looked at.</summary>
    public void EndScan()
    {
        _removedEarly = null;
        _changedEarly.Clear();
    }

    /// <summary>Notes a change to be written.</summary>
    public void NoteAmendment(in Amendment amendment) => _amendments.Add(amendment);

    /// <summary>Takes the changes to be written.</summary>
    public List<Amendment> TakeAmendments()
    {
        if (_amendments.Count == 0)
        {
            return [];
        }

        var taken = _amendments;
        _amendments = [];
        return taken;
    }

    /// <summary>Gives changes back that could not be written; they come before later ones.</summary>
    public void PutAmendmentsBack(IEnumerable<Amendment> amendments) => _amendments.InsertRange(0, amendments);

    // The entry that says where a block is must not outlive the one that says that it is there no more. Both lie in the
    // same index, so that neither a deleted segment nor an index written anew parts them.
    private void NoteGone(int id, Loss loss)
    {
        ref readonly var block = ref Index.Data(id);
        if (loss == Loss.Outdated || (block.Marks & BlockMarks.Durable) == 0)
        {
            return;
        }

        var segment = _geometry.SegmentOf(block.Address);
        if (loss == Loss.DiskFailed)
        {
            // It may be readable after a restart, unless it is put again before.
            _unreadable[Index.KeyOf(id)] = segment;
        }
        else
        {
            NoteStale(Index.KeyOf(id), segment);
        }
    }

    private void NoteChanged(int id, bool unpinned)
    {
        if (IsScanning)
        {
            _changedEarly[Index.KeyOf(id)] = unpinned || _changedEarly.GetValueOrDefault(Index.KeyOf(id));
        }
    }

    private void NoteUnreadable(in BlockKey key)
    {
        if (_unreadable.Remove(key, out var segment))
        {
            NoteStale(key, segment);
        }
    }

    // Noted of blocks that are not durable yet, too: their entry may be on its way as they were.
    private void Amend(int id) => _amendments.Add(new Amendment(
        IndexEntryKind.Retention, Index.KeyOf(id), _geometry.SegmentOf(Index.Data(id).Address)));
}
