using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <content>The prefix tree: entries under the entries before them, and the ghosts that keep it together.</content>
public sealed partial class RetentionIndex<TData>
{
    // A prefix that ended before the block would make the block unreachable.
    private void RaiseExpiry(int id)
    {
        var expires = _entries[id].ExpiresMs;
        for (var above = _entries[id].Parent; above != None; above = _entries[above].Parent)
        {
            ref var entry = ref _entries[above];
            if (entry.ExpiresMs >= expires)
            {
                return;
            }

            var told = entry.IsBlock && entry.ExpiresMs / RaisedStepMs != expires / RaisedStepMs;
            entry.ExpiresMs = expires;
            if (told)
            {
                Raised?.Invoke(above);
            }
        }
    }

    private void SetParent(int id, in BlockKey key, in BlockKey parent)
    {
        // A ghost that was a block knows its parent; one made for its child does not.
        if (_entries[id].Parent != None || parent == default || parent == key)
        {
            return;
        }

        var above = FindEntry(parent);
        if (above == None)
        {
            above = NewEntry(parent);
            GhostCount++;
        }
        else if (IsAbove(id, above))
        {
            return;
        }

        _entries[id].Parent = above;
        RefreshDepth(ref _entries[id]);
        _entries[above].Children++;
        Place(above);
    }

    // Only a ghost can already have descendants; keys that name each other as parents would hold each other for ever.
    private bool IsAbove(int id, int below)
    {
        if (_entries[id].Children == 0)
        {
            return false;
        }

        while (below != None && below != id)
        {
            below = _entries[below].Parent;
        }

        return below == id;
    }

    private void RefreshDepth(ref RetentionEntry<TData> entry)
    {
        if (entry.Parent != None)
        {
            entry.Depth = (ushort)Math.Min(_entries[entry.Parent].Depth + 1, ushort.MaxValue);
        }
    }

    private int NewEntry(in BlockKey key)
    {
        var id = _free;
        if (id == None)
        {
            id = _end++;
            _entries.Grow(_end);
            _orderPositions.Grow(_end);
            _timerPositions.Grow(_end);
        }
        else
        {
            _free = _entries[id].Parent;
        }

        _entries[id] = new RetentionEntry<TData> { Key = key, Parent = None, State = EntryState.Ghost };
        Link(id);
        return id;
    }

    private void DropGhosts(int id)
    {
        while (_entries[id] is { State: EntryState.Ghost, Children: 0 })
        {
            Unlink(id);
            GhostCount--;
            var above = _entries[id].Parent;
            _entries[id] = new RetentionEntry<TData> { Parent = _free };
            _free = id;
            if (above == None)
            {
                return;
            }

            _entries[above].Children--;
            id = above;
        }

        Place(id);
    }
}
