using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// What must be in the store after a crash, what must not, and what may be, from what the killed process said.
/// </summary>
internal sealed class CrashBooks(CrashObjects objects)
{
    private const int ExamplesMax = 5;

    private readonly Dictionary<long, CrashObject> _objects = [];

    private enum Phase
    {
        Stored,
        Leaving,
        Removed,
    }

    /// <summary>Above every number that was put.</summary>
    public long Next { get; private set; }

    /// <summary>Objects that the process read with other bytes.</summary>
    public int WrongReads { get; private set; }

    /// <summary>Numbers of the objects that are there, as far as is known.</summary>
    public IEnumerable<long> Known =>
        _objects.Where(static pair => pair.Value.Phase == Phase.Stored).Select(static pair => pair.Key).Order();

    /// <summary>Notes a line of the process. The last one may be cut off anywhere.</summary>
    public void Note(string line)
    {
        var words = line.Split(' ');
        if (words.Length != 3 || !long.TryParse(words[1], CultureInfo.InvariantCulture, out var number) ||
            !long.TryParse(words[2], CultureInfo.InvariantCulture, out var timeMs))
        {
            return;
        }

        switch (words[0])
        {
            case "put":
                _objects[number] = new CrashObject(Phase.Stored, timeMs);
                Next = Math.Max(Next, number + 1);
                break;
            case "removing":
                _objects[number] = new CrashObject(Phase.Leaving, timeMs);
                break;
            case "removed":
                _objects[number] = new CrashObject(Phase.Removed, timeMs);
                break;
            case "wrong":
                WrongReads++;
                break;
            default:
                throw new CommandException($"the process under load said '{line}'");
        }
    }

    /// <summary>
    /// Reads every object. What was stored or removed up to <paramref name="settledMs"/> must be so; of the rest
    /// what is found counts from now on as stored.
    /// </summary>
    public CrashFindings Compare(KvBlockStore store, long settledMs, CancellationToken cancellationToken)
    {
        var findings = new CrashFindings();
        var block = new byte[CrashObjects.Layout.BytesPerBlock];
        // A put that was not told, because the process was killed before it could, may have any of these numbers.
        foreach (var number in _objects.Keys.Concat(NumbersAfter(Next)).Order().ToList())
        {
            cancellationToken.ThrowIfCancellationRequested();
            var known = _objects.GetValueOrDefault(number);
            var found = store.TryGet(objects.KeyOf(number), block);
            if (found && !objects.IsRight(number, block))
            {
                findings.Wrong++;
            }

            var isSettled = known is not null && known.TimeMs <= settledMs;
            if (known is { Phase: Phase.Stored } && isSettled)
            {
                findings.Expected++;
                Count(found, ref findings.Lost, number, findings);
            }
            else if (known is { Phase: Phase.Removed } && isSettled)
            {
                Count(!found, ref findings.CameBack, number, findings);
            }

            if (found)
            {
                findings.Found++;
                Next = Math.Max(Next, number + 1);
                _objects[number] = new CrashObject(Phase.Stored, TimeMs: 0);
            }
            else
            {
                _objects.Remove(number);
            }
        }

        // Numbers that were put without a word are not to be put again.
        Next += UntoldMax;
        return findings;
    }

    // A step of the load, and some.
    private const int UntoldMax = 64;

    private static IEnumerable<long> NumbersAfter(long next) =>
        Enumerable.Range(0, UntoldMax).Select(i => next + i);

    private static void Count(bool isRight, ref int faults, long number, CrashFindings findings)
    {
        if (!isRight)
        {
            faults++;
            if (findings.Examples.Count < ExamplesMax)
            {
                findings.Examples.Add(number);
            }
        }
    }

    private sealed record CrashObject(Phase Phase, long TimeMs);
}
