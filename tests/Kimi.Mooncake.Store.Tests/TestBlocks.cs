using System.Buffers.Binary;
using System.Security.Cryptography;
using Kimi.Mooncake.Core;

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

    public static KvBlockStore OpenSmall(string directory) =>
        KvBlockStore.Open(SmallOptions(directory), SmallLayout, Fingerprint);

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

    public static PutResult Put(KvBlockStore store, int number) =>
        store.Put(Key(number), number == 0 ? default : Key(number - 1), Bytes(number, store.BlockBytes));

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
