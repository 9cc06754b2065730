using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.KvCache;

/// <summary>
/// The block keys of one token sequence, computed as its tokens become known. Only full blocks have keys.
/// <c>root = SHA-256(format version, model fingerprint, KV layout, salt)</c>, each field with its length before it;
/// <c>key[i] = SHA-256(key[i-1], tokens of block i as little-endian int32)</c> with <c>key[-1] = root</c>.
/// </summary>
public sealed class BlockKeyChain
{
    /// <summary>Version of the derivation; a change makes every older stored block a miss.</summary>
    private const int FormatVersion = 1;

    private readonly BlockKey _root;
    private readonly int _blockTokens;
    private BlockKey[] _keys = [];

    /// <summary>Starts a chain without tokens.</summary>
    /// <param name="root">What <see cref="Root"/> gave.</param>
    /// <param name="blockTokens">Tokens in a block.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not a block size.</exception>
    public BlockKeyChain(BlockKey root, int blockTokens)
    {
        ThrowUnlessBlockSize(blockTokens);
        _root = root;
        _blockTokens = blockTokens;
    }

    /// <summary>Full blocks that have a key so far.</summary>
    public int Count { get; private set; }

    /// <summary>Keys of the full blocks, in order; valid until the chain is extended.</summary>
    public ReadOnlySpan<BlockKey> Keys => _keys.AsSpan(0, Count);

    /// <summary>The key before block <paramref name="index"/>: the previous block's, or the root.</summary>
    /// <param name="index">Block, from 0.</param>
    public BlockKey ParentOf(int index) => index == 0 ? _root : Keys[index - 1];

    /// <summary>Key of the first block of a block's placement group.</summary>
    /// <param name="index">Block that has a key.</param>
    public BlockKey GroupOf(int index) => Keys[PlacementGroup.FirstOf(index)];

    /// <summary>Adds the keys of the full blocks that have none yet.</summary>
    /// <param name="tokens">The sequence from its first token; later calls give it with more tokens at its end.</param>
    public void Extend(ReadOnlySpan<int> tokens)
    {
        var blocks = tokens.Length / _blockTokens;
        if (blocks > _keys.Length)
        {
            Array.Resize(ref _keys, blocks);
        }

        for (; Count < blocks; Count++)
        {
            _keys[Count] = Next(ParentOf(Count), tokens.Slice(Count * _blockTokens, _blockTokens));
        }
    }

    /// <summary>The key from which every chain under a model, layout and salt starts.</summary>
    /// <param name="modelFingerprint">Names the weights.</param>
    /// <param name="layout">Layout of the blocks.</param>
    /// <param name="salt">Separates tenants; chains with different salts share no key. May be empty.</param>
    public static BlockKey Root(string modelFingerprint, KvLayout layout, string salt)
    {
        ArgumentNullException.ThrowIfNull(layout);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> version = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(version, FormatVersion);
        AppendField(hash, version);
        AppendField(hash, Encoding.UTF8.GetBytes(modelFingerprint));
        AppendField(hash, Encoding.UTF8.GetBytes(layout.Describe()));
        AppendField(hash, Encoding.UTF8.GetBytes(salt));
        Span<byte> digest = stackalloc byte[BlockKey.SizeBytes];
        hash.GetHashAndReset(digest);
        return new BlockKey(digest);
    }

    /// <summary>The key of a block. Does not allocate.</summary>
    /// <param name="parent">Key of the block before, or the root.</param>
    /// <param name="blockTokens">The block's tokens, a full block.</param>
    /// <exception cref="ArgumentOutOfRangeException">The span does not have the length of a block.</exception>
    public static BlockKey Next(BlockKey parent, ReadOnlySpan<int> blockTokens)
    {
        ThrowUnlessBlockSize(blockTokens.Length);
        Span<byte> input = stackalloc byte[BlockKey.SizeBytes + (KvLayout.BlockTokensMax * sizeof(int))];
        input = input[..(BlockKey.SizeBytes + (blockTokens.Length * sizeof(int)))];
        parent.CopyTo(input);
        var body = input[BlockKey.SizeBytes..];
        for (var i = 0; i < blockTokens.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(body[(i * sizeof(int))..], blockTokens[i]);
        }

        Span<byte> digest = stackalloc byte[BlockKey.SizeBytes];
        SHA256.HashData(input, digest);
        return new BlockKey(digest);
    }

    private static void AppendField(IncrementalHash hash, ReadOnlySpan<byte> field)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, field.Length);
        hash.AppendData(length);
        hash.AppendData(field);
    }

    private static void ThrowUnlessBlockSize(int blockTokens)
    {
        if (!KvLayout.IsBlockSize(blockTokens))
        {
            throw new ArgumentOutOfRangeException(
                nameof(blockTokens),
                blockTokens,
                $"a block has a power of two from {KvLayout.BlockTokensMin} to {KvLayout.BlockTokensMax} tokens");
        }
    }
}
