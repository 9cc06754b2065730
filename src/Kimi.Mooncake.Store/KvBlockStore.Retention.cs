using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>How long blocks are kept, and who pays for them.</content>
public sealed partial class KvBlockStore
{
    /// <summary>Holds blocks longer or more strongly than before, never less.</summary>
    /// <param name="keys">Any keys.</param>
    /// <param name="retention">How long, from now.</param>
    /// <returns>How many of them are stored.</returns>
    public int Retain(ReadOnlySpan<BlockKey> keys, in BlockRetention retention)
    {
        var found = 0;
        var now = NowMs();
        lock (_catalog.Gate)
        {
            foreach (var key in keys)
            {
                if (_catalog.Find(key) is { } block)
                {
                    block.Retain(retention, now);
                    found++;
                }
            }
        }

        return found;
    }

    /// <summary>Takes the pins of blocks off; their lifetime stays.</summary>
    /// <param name="keys">Any keys.</param>
    /// <returns>How many of them are stored.</returns>
    public int Unpin(ReadOnlySpan<BlockKey> keys)
    {
        var found = 0;
        lock (_catalog.Gate)
        {
            foreach (var key in keys)
            {
                if (_catalog.Find(key) is { } block)
                {
                    block.Unpin();
                    found++;
                }
            }
        }

        return found;
    }

    /// <summary>Counts a use of blocks whose bytes came from elsewhere, so that they are kept as if read here.</summary>
    /// <param name="keys">Any keys; those that are not stored are passed over.</param>
    public void Touch(ReadOnlySpan<BlockKey> keys)
    {
        lock (_catalog.Gate)
        {
            foreach (var key in keys)
            {
                if (_catalog.Find(key) is { } block)
                {
                    block.Hot = true;
                }
            }
        }
    }

    /// <summary>Holds the leading blocks for a reader.</summary>
    /// <param name="keys">Keys in the order of the prefix.</param>
    /// <param name="time">How long from now.</param>
    public StoreLease Lease(ReadOnlySpan<BlockKey> keys, TimeSpan time)
    {
        var leased = keys[..CountStored(keys)].ToArray();
        RenewLease(leased, time);
        return new StoreLease(this, leased);
    }

    /// <summary>Limits what a tenant may take.</summary>
    /// <param name="tenant">Its name.</param>
    /// <param name="bytes">Most bytes on disk; 0: none of its own, a fair share.</param>
    public void SetQuota(string tenant, long bytes)
    {
        ArgumentNullException.ThrowIfNull(tenant);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        lock (_catalog.Gate)
        {
            _quotas[tenant] = bytes;
        }
    }

    /// <summary>What each tenant has, in no order.</summary>
    public IReadOnlyList<TenantUsage> Tenants()
    {
        lock (_catalog.Gate)
        {
            return
            [
                .. _catalog.Blocks.GroupBy(static block => block.Tenant).Select(group => new TenantUsage(
                    group.Key, group.Count(), (long)group.Count() * _geometry.EntryBytes,
                    _quotas.GetValueOrDefault(group.Key))),
            ];
        }
    }

    /// <summary>Tells somebody from now on which blocks can be found, beginning with those that are there.</summary>
    /// <param name="listener">Who is told.</param>
    public void Subscribe(IStoreListener listener)
    {
        ArgumentNullException.ThrowIfNull(listener);
        lock (_catalog.Gate)
        {
            _events.Add(listener);
            foreach (var block in _catalog.Blocks)
            {
                _events.NoteStored(block.Key, block.Parent, listener);
            }
        }

        _events.Tell();
    }

    internal void RenewLease(ReadOnlySpan<BlockKey> keys, TimeSpan time) => Touch(keys);

    private long NowMs() => _openedMs + (long)_time.GetElapsedTime(_openedAt).TotalMilliseconds;
}
