using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>What comes with a block, for whoever copies it.</content>
public sealed partial class KvBlockStore
{
    /// <summary>Says what a block was put with, as far as it still holds.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Key of the block before it; default when it has none.</param>
    /// <param name="attributes">Tenant, class, and how long it is kept from now on.</param>
    /// <returns>False when it is not stored.</returns>
    public bool TryDescribe(BlockKey key, out BlockKey parent, out BlockAttributes attributes)
    {
        Enter();
        try
        {
            lock (_catalog.Gate)
            {
                (parent, attributes) = (default, BlockAttributes.Default);
                var id = _catalog.Find(key);
                if (id < 0)
                {
                    return false;
                }

                var now = _catalog.NowMs;
                var known = _catalog.Index.Describe(id, now);
                parent = known.Parent;
                attributes = new BlockAttributes(
                    _catalog.Index.TenantName(known.Tenant), _catalog.RetentionOf(id, now).From(now),
                    _catalog.Index.Data(id).Class);
                return true;
            }
        }
        finally
        {
            Exit();
        }
    }
}
