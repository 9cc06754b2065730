using System.Globalization;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>
/// The process that <see cref="CrashTests"/> kills. Puts blocks from a number on, flushes now and then, and prints
/// after each flush how far the blocks are safe, until it dies.
/// </summary>
internal static class CrashChild
{
    private const int BlocksMax = 10_000;

    /// <summary>A store with room for everything that the children of a test put.</summary>
    public static KvBlockStore Open(string folder) => TestBlocks.Open(
        TestBlocks.SmallOptions(folder) with { DiskBytes = 256 * 1024 * 1024 });

    /// <summary>Whether a block is removed again soon after it was put.</summary>
    public static bool IsRemoved(int number) => number % 7 == 3;

    /// <summary>Whether a block has a hard pin: one in ten, and one in ten gets it later.</summary>
    public static bool IsPinned(int number) => number % 10 is 0 or 5 && !IsRemoved(number);

    private static BlockAttributes? AttributesOf(int number) => number % 10 == 0
        ? new BlockAttributes("pinned", new BlockRetention(PinKind.Hard), BlockClass.Context)
        : null;

    // What is done to a block is said in order: the next flush makes it last.
    private static bool WasChanged(KvBlockStore store, int number)
    {
        if (IsRemoved(number))
        {
            return store.Remove(TestBlocks.Key(number));
        }

        return number % 10 != 5 || store.Retain([TestBlocks.Key(number)], new BlockRetention(PinKind.Hard)) == 1;
    }

    private static async Task Main(string[] arguments)
    {
        var first = int.Parse(arguments[1], CultureInfo.InvariantCulture);
        var random = new Random(int.Parse(arguments[2], CultureInfo.InvariantCulture));
        await using var store = Open(arguments[0]);
        for (var number = first; number < first + BlocksMax; number++)
        {
            if (TestBlocks.Put(store, number, AttributesOf(number)) == PutResult.Stored && WasChanged(store, number) &&
                random.Next(20) == 0 && await store.FlushAsync())
            {
                await Console.Out.WriteLineAsync(number.ToString(CultureInfo.InvariantCulture));
            }
        }

        await Console.In.ReadLineAsync();
    }
}
