using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// The objects of a crash test. Everything about one follows from the test's seed and its number, so that whoever reads
/// it can tell whether it is right.
/// </summary>
internal sealed class CrashObjects(int seed)
{
    private const int SequenceBlocks = 8;

    /// <summary>4 KiB: many objects at little cost.</summary>
    public static KvLayout Layout { get; } = new(KvElementType.F32, 2, 24, 8, KvLayout.BlockTokensMin);

    public static string Fingerprint => "crash";

    /// <summary>Settings of the store; small segments, so that there is much to compact.</summary>
    public static KvBlockStoreOptions OptionsOf(string directory) => new()
    {
        Directory = directory,
        MemoryBytes = 16L << 20,
        DiskBytes = 1L << 30,
        SegmentBytes = 1L << 20,
    };

    public BlockKey KeyOf(long number)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        for (var i = 0; i < BlockKey.SizeBytes / sizeof(ulong); i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[(i * sizeof(ulong))..], Mix(number, i));
        }

        return new BlockKey(bytes);
    }

    /// <summary>Key of the object before; default for the first of a sequence.</summary>
    public BlockKey ParentOf(long number) => number % SequenceBlocks == 0 ? default : KeyOf(number - 1);

    /// <summary>Writes the object's bytes.</summary>
    public void Fill(long number, Span<byte> block)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(block);
        var state = Mix(number, words.Length);
        for (var i = 0; i < words.Length; i++)
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words[i] = state;
        }
    }

    /// <summary>Whether these are the object's bytes.</summary>
    public bool IsRight(long number, ReadOnlySpan<byte> block)
    {
        Span<byte> expected = stackalloc byte[Layout.BytesPerBlock];
        Fill(number, expected);
        return block.SequenceEqual(expected);
    }

    private ulong Mix(long number, int salt)
    {
        var value = (ulong)number + ((ulong)(uint)seed << 40) + ((ulong)salt * 0x9E3779B97F4A7C15);
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return (value ^ (value >> 31)) | 1;
    }
}
