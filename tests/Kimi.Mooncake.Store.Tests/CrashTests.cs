using System.Diagnostics;
using System.Globalization;

namespace Kimi.Mooncake.Store.Tests;

public sealed class CrashTests
{
    private const int AcknowledgedMax = 2_000;

    [Test]
    public async Task Kill_WhilePutting_EveryFlushedBlockIsThere([Values(1, 2, 3, 4, 5, 6)] int seed)
    {
        using var folder = new TemporaryFolder();
        var random = new Random(seed);
        var first = 0;
        var safe = new List<(int First, int Last)>();
        for (var round = 0; round < 3; round++)
        {
            var last = await RunAndKill(folder.Path, first, seed + round, random.Next(1, AcknowledgedMax));
            safe.Add((first, last));
            first += 100_000;

            await using var store = CrashChild.Open(folder.Path);
            foreach (var (from, to) in safe)
            {
                for (var number = from; number <= to; number++)
                {
                    Assert.That(
                        TestBlocks.Has(store, number), Is.EqualTo(!CrashChild.IsRemoved(number)),
                        $"seed {seed}, round {round}: block {number}");
                }
            }

            var pinned = safe.Sum(static run =>
                Enumerable.Range(run.First, run.Last - run.First + 1).Count(CrashChild.IsPinned));
            Assert.That(store.Statistics().HardPinned, Is.GreaterThanOrEqualTo(pinned), $"seed {seed}");

            Assert.That(
                store.Statistics(),
                Has.Property("Damaged").LessThanOrEqualTo(round + 1).And.Property("Evicted").Zero,
                $"seed {seed}: at most one torn index entry for each kill");
        }
    }

    private static async Task<int> RunAndKill(string folder, int first, int seed, int blocks)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add(typeof(CrashChild).Assembly.Location);
        foreach (var argument in new[] { folder, Text(first), Text(seed) })
        {
            start.ArgumentList.Add(argument);
        }

        using var child = Process.Start(start)!;
        var last = first - 1;
        while (last < first + blocks && await child.StandardOutput.ReadLineAsync() is { } line)
        {
            last = int.Parse(line, CultureInfo.InvariantCulture);
        }

        child.Kill();
        // What was printed before the end was flushed before it, too.
        while (await child.StandardOutput.ReadLineAsync() is { } line)
        {
            last = int.TryParse(line, CultureInfo.InvariantCulture, out var number) ? number : last;
        }

        await child.WaitForExitAsync();
        Assert.That(last, Is.GreaterThanOrEqualTo(first), "the child put nothing");
        return last;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
