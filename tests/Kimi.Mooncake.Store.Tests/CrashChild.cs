using System.Globalization;

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

    private static async Task Main(string[] arguments)
    {
        var first = int.Parse(arguments[1], CultureInfo.InvariantCulture);
        var random = new Random(int.Parse(arguments[2], CultureInfo.InvariantCulture));
        await using var store = Open(arguments[0]);
        for (var number = first; number < first + BlocksMax; number++)
        {
            if (TestBlocks.Put(store, number) == PutResult.Stored && random.Next(20) == 0 && await store.FlushAsync())
            {
                await Console.Out.WriteLineAsync(number.ToString(CultureInfo.InvariantCulture));
            }
        }

        await Console.In.ReadLineAsync();
    }
}
