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

    /// <summary>Holds a block longer or more strongly.</summary>
    public void Retain(int id, in BlockRetention retention, long nowMs)
    {
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
        Remove(id, Loss.DiskFailed);
        _counters.Recovered--;
    }

    /// <summary>Takes a block's pin off.</summary>
    public void Unpin(int id)
    {
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
    public void NoteRemoved(in BlockKey key) => _removedEarly?.Add(key);

    /// <summary>Whether a key was removed since the store was opened.</summary>
    public bool WasRemoved(in BlockKey key) => _removedEarly?.Contains(key) ?? false;

    /// <summary>Everything on disk has been looked at.</summary>
    public void EndScan() => _removedEarly = null;

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

    // Noted of blocks that are not durable yet, too: their entry may be on its way as they were.
    private void Amend(int id) => _amendments.Add(new Amendment(
        IndexEntryKind.Retention, Index.KeyOf(id), _geometry.SegmentOf(Index.Data(id).Address)));
}
