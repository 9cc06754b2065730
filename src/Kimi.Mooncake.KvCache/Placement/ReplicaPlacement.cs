using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Placement;

/// <summary>A node that keeps blocks for all.</summary>
/// <param name="Address">Where other processes reach it; its identity.</param>
/// <param name="Host">Name of its machine; empty where it has none to share.</param>
public sealed record StoreNodeAddress(string Address, string Host);

/// <summary>
/// Which store nodes keep the replicas of a placement group: those whose weights for its first key are highest, no two
/// on one host as long as there are other hosts. All processes choose alike, in whatever order they know the nodes, and
/// a node that comes or goes moves only groups of its own.
/// </summary>
public sealed class ReplicaPlacement
{
    private readonly StoreNodeAddress[] _nodes;
    private readonly ulong[] _hashes;
    private readonly int[] _hosts;

    /// <summary>Places groups on nodes.</summary>
    /// <param name="nodes">The nodes; one that comes twice counts once.</param>
    public ReplicaPlacement(IEnumerable<StoreNodeAddress> nodes)
    {
        _nodes = [.. nodes.DistinctBy(node => node.Address, StringComparer.Ordinal)
            .OrderBy(node => node.Address, StringComparer.Ordinal)];
        _hashes = Array.ConvertAll(_nodes, HashOf);
        var hosts = new Dictionary<string, int>(StringComparer.Ordinal);
        _hosts = Array.ConvertAll(_nodes, node =>
        {
            // No host is called like an address, so that a node without one is on a host of its own.
            var host = node.Host.Length > 0 ? node.Host : node.Address;
            hosts.TryAdd(host, hosts.Count);
            return hosts[host];
        });
    }

    /// <summary>The nodes, by address.</summary>
    public IReadOnlyList<StoreNodeAddress> Nodes => _nodes;

    /// <summary>Chooses the nodes of a group, the one with the highest weight first.</summary>
    /// <param name="groupKey">Key of the first block of the group.</param>
    /// <param name="chosen">
    /// Places of the nodes in <see cref="Nodes"/>; its length is the number of replicas that are wanted.
    /// </param>
    /// <returns>How many there are; fewer than wanted where there are fewer nodes.</returns>
    public int Choose(in BlockKey groupKey, Span<int> chosen)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        groupKey.CopyTo(bytes);
        var group = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        var wanted = Math.Min(chosen.Length, _nodes.Length);
        for (var count = 0; count < wanted; count++)
        {
            var next = Next(group, chosen[..count], onNewHost: true);
            chosen[count] = next >= 0 ? next : Next(group, chosen[..count], onNewHost: false);
        }

        return wanted;
    }

    private int Next(ulong group, ReadOnlySpan<int> taken, bool onNewHost)
    {
        var best = -1;
        var bestWeight = 0UL;
        for (var node = 0; node < _nodes.Length; node++)
        {
            if (!taken.Contains(node) && (!onNewHost || IsOnNewHost(node, taken))
                && Weight(group, _hashes[node]) is var weight && (best < 0 || weight > bestWeight))
            {
                (best, bestWeight) = (node, weight);
            }
        }

        return best;
    }

    private bool IsOnNewHost(int node, ReadOnlySpan<int> taken)
    {
        foreach (var other in taken)
        {
            if (_hosts[other] == _hosts[node])
            {
                return false;
            }
        }

        return true;
    }

    private static ulong HashOf(StoreNodeAddress node) =>
        BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(node.Address)));

    private static ulong Weight(ulong group, ulong node)
    {
        var x = group ^ node;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
