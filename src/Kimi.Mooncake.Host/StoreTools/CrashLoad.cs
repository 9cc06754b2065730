using System.Globalization;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// The load of a crash test, in the process that is killed: puts, gets, pins and removals in random order. What it did
/// it says on standard output, a line each: <c>ready</c>, <c>put NUMBER TIME</c> after the put, <c>removing NUMBER</c>
/// before a removal and <c>removed NUMBER TIME</c> after it, <c>wrong NUMBER</c>. Times are Unix milliseconds.
/// </summary>
internal sealed class CrashLoad(KvBlockStore store, CrashObjects objects, Random random, TextWriter output)
{
    /// <summary>More are removed as they come.</summary>
    public const int ObjectsMax = 20_000;

    // In each step; a step takes a millisecond and the time of its operations.
    private const int OperationsPerStep = 6;

    private readonly List<long> _known = [];
    private readonly List<long> _leaving = [];
    private readonly byte[] _block = new byte[CrashObjects.Layout.BytesPerBlock];
    private long _next;

    /// <summary>Opens the store and works until it is killed, or its standard input ends.</summary>
    /// <param name="directory">Folder of the store.</param>
    /// <param name="seed">Of the test; what this process does depends on the objects that it is told, too.</param>
    /// <param name="input">The first number that was never put, then the numbers of objects, a line each; a
    /// dot.</param>
    /// <param name="output">Where it says what it did.</param>
    public static async Task RunAsync(string directory, int seed, TextReader input, TextWriter output)
    {
        var store = KvBlockStore.Open(
            CrashObjects.OptionsOf(directory), CrashObjects.Layout, CrashObjects.Fingerprint);
        await using (store.ConfigureAwait(false))
        {
            var first = await ReadNumberAsync(input).ConfigureAwait(false) ?? 0;
            var load = new CrashLoad(store, new CrashObjects(seed), new Random(HashCode.Combine(seed, first)), output)
            {
                _next = first,
            };
            while (await ReadNumberAsync(input).ConfigureAwait(false) is { } known)
            {
                load._known.Add(known);
            }

            var ended = input.ReadLineAsync();
            await output.WriteLineAsync("ready").ConfigureAwait(false);
            while (!ended.IsCompleted)
            {
                load.Step();
                await output.FlushAsync().ConfigureAwait(false);
                await Task.Delay(1).ConfigureAwait(false);
            }
        }
    }

    private static async Task<long?> ReadNumberAsync(TextReader input) =>
        long.TryParse(await input.ReadLineAsync().ConfigureAwait(false), CultureInfo.InvariantCulture, out var number)
            ? number
            : null;

    private void Step()
    {
        // These were named in the step before, so that whoever listens knows of them whatever happens now.
        foreach (var number in _leaving)
        {
            store.Remove(objects.KeyOf(number));
            Say("removed", number, Now());
        }

        _leaving.Clear();
        for (var i = 0; i < OperationsPerStep; i++)
        {
            var choice = random.Next(10);
            if (choice < 5 || _known.Count == 0)
            {
                Put();
            }
            else if (choice < 7)
            {
                Get(_known[random.Next(_known.Count)]);
            }
            else if (choice < 9)
            {
                Keep(objects.KeyOf(_known[random.Next(_known.Count)]));
            }
            else
            {
                Leave();
            }
        }

        while (_known.Count > ObjectsMax)
        {
            Leave();
        }
    }

    private void Put()
    {
        var number = _next++;
        objects.Fill(number, _block);
        var attributes = new BlockAttributes(
            $"tenant-{number % 3}",
            new BlockRetention((PinKind)random.Next(3), random.Next(60), Priority: random.Next(4)),
            BlockClass.Prompt);
        if (store.Put(objects.KeyOf(number), objects.ParentOf(number), _block, attributes) == PutResult.Stored)
        {
            _known.Add(number);
            Say("put", number, Now());
        }
    }

    private void Get(long number)
    {
        // A miss may be right: the scan of what earlier processes left goes on.
        if (store.TryGet(objects.KeyOf(number), _block) && !objects.IsRight(number, _block))
        {
            Say("wrong", number, Now());
        }
    }

    private void Keep(BlockKey key)
    {
        if (random.Next(2) == 0)
        {
            store.Retain([key], new BlockRetention(PinKind.Soft, random.Next(1, 100)));
        }
        else
        {
            store.Unpin([key]);
        }
    }

    private void Leave()
    {
        var at = random.Next(_known.Count);
        var number = _known[at];
        _known[at] = _known[^1];
        _known.RemoveAt(_known.Count - 1);
        _leaving.Add(number);
        Say("removing", number, Now());
    }

    private void Say(string what, long number, long timeMs) =>
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what} {number} {timeMs}"));

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
}
