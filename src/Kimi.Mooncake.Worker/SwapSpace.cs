using System.Buffers.Binary;
using System.Security.Cryptography;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Blocks of preempted sequences in the store, under keys that no prompt can have: they follow from a random number of
/// this process. While they are here nothing else takes their room; the next process drops what a kill leaves. Any
/// thread may call.
/// </summary>
/// <param name="store">Where the blocks are kept.</param>
internal sealed class SwapSpace(KvBlockStore store)
{
    // Longer than any sequence waits for its blocks.
    private const int LifetimeSeconds = 24 * 3600;

    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(BlockKey.SizeBytes);
    private readonly Lock _gate = new();
    private readonly Dictionary<long, BlockKey[]> _sequences = [];
    private long _lastNumber;

    /// <summary>How the store is to keep the blocks; no tenant can have the name under which they count.</summary>
    public static BlockAttributes Attributes { get; } = new(
        KvBlockStore.SwapTenant, new BlockRetention(PinKind.Hard, LifetimeSeconds, LifetimeSeconds), BlockClass.Prompt);

    /// <summary>Sequences that have blocks here.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _sequences.Count;
            }
        }
    }

    /// <summary>New keys for the blocks of a sequence, which has none here.</summary>
    public BlockKey[] Open(long sequenceId, int blocks)
    {
        lock (_gate)
        {
            var number = ++_lastNumber;
            BlockKey[] keys = [.. Enumerable.Range(0, blocks).Select(index => KeyOf(number, index))];
            _sequences.Add(sequenceId, keys);
            return keys;
        }
    }

    /// <summary>Keys of the blocks of a sequence.</summary>
    /// <exception cref="InvalidOperationException">It has none here, or another number of them.</exception>
    public BlockKey[] KeysOf(long sequenceId, int blocks)
    {
        lock (_gate)
        {
            return _sequences.TryGetValue(sequenceId, out var keys) && keys.Length == blocks
                ? keys
                : throw new InvalidOperationException(
                    $"sequence {sequenceId} has {keys?.Length ?? 0} blocks put aside, not {blocks}");
        }
    }

    /// <summary>Forgets the blocks of a sequence; having none is no error.</summary>
    public void Drop(long sequenceId)
    {
        BlockKey[]? keys;
        lock (_gate)
        {
            _sequences.Remove(sequenceId, out keys);
        }

        foreach (var key in keys ?? [])
        {
            store.Remove(key);
        }
    }

    private BlockKey KeyOf(long number, int index)
    {
        Span<byte> input = stackalloc byte[BlockKey.SizeBytes + sizeof(long) + sizeof(int)];
        _nonce.CopyTo(input);
        BinaryPrimitives.WriteInt64LittleEndian(input[BlockKey.SizeBytes..], number);
        BinaryPrimitives.WriteInt32LittleEndian(input[(BlockKey.SizeBytes + sizeof(long))..], index);
        return new BlockKey(SHA256.HashData(input));
    }
}
