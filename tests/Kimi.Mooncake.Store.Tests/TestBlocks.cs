using System.Buffers.Binary;
using System.Security.Cryptography;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>
/// Blocks whose keys and bytes follow from a number, so that any process can say what a key must hold.
/// </summary>
internal static class TestBlocks
{
    public const string Fingerprint = "test-model";

    /// <summary>Blocks of 2,048 bytes.</summary>
    public static KvLayout SmallLayout { get; } = new(KvElementType.F32, 2, 12, 4, 16);

    public static KvBlockStoreOptions SmallOptions(string directory) => new()
    {
        Directory = directory,
        MemoryBytes = 256 * 1024,
        DiskBytes = 2 * 1024 * 1024,
        SegmentBytes = 64 * 1024,
        FlushIntervalMs = 60_000,
    };

    /// <summary>Opens a store and lets it find everything that is there.</summary>
    public static KvBlockStore OpenSmall(string directory) => Open(SmallOptions(directory));

    /// <summary>Opens a store and lets it find everything that is there.</summary>
    public static KvBlockStore Open(
        KvBlockStoreOptions options, string fingerprint = Fingerprint, ILogger? logger = null,
        TimeProvider? time = null)
    {
        var store = KvBlockStore.Open(options, SmallLayout, fingerprint, logger, time);
        Assert.That(SpinWait.SpinUntil(() => store.Scanning.IsCompleted, TimeSpan.FromMinutes(1)), "the scan ends");
        return store;
    }

    public static BlockKey Key(int number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, number);
        return new BlockKey(SHA256.HashData(bytes));
    }

    public static byte[] Bytes(int number, int length)
    {
        var bytes = new byte[length];
        new Random(number).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Puts a block that follows on no other.</summary>
    public static PutResult Put(KvBlockStore store, int number, BlockAttributes? attributes = null) =>
        store.Put(Key(number), default, Bytes(number, store.BlockBytes), attributes);

    /// <summary>Puts a block that follows on the one before.</summary>
    public static PutResult PutAfter(
        KvBlockStore store, int number, int parent, BlockAttributes? attributes = null) =>
        store.Put(Key(number), Key(parent), Bytes(number, store.BlockBytes), attributes);

    /// <summary>Whether the block is there; fails when it is there with other bytes.</summary>
    public static bool Has(KvBlockStore store, int number)
    {
        var bytes = new byte[store.BlockBytes];
        if (!store.TryGet(Key(number), bytes))
        {
            return false;
        }

        Assert.That(bytes.AsSpan().SequenceEqual(Bytes(number, bytes.Length)), $"block {number} has wrong bytes");
        return true;
    }
}
