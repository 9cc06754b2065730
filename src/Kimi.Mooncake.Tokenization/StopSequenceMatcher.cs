namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// Ends a text stream at the first stop sequence, wherever tokens cut it. Text that may be the beginning of one is held
/// back. The sequence that is complete first wins, so the result does not depend on the cut. One per sequence.
/// </summary>
/// <param name="stopSequences">Non-empty texts; ordinal comparison.</param>
public sealed class StopSequenceMatcher(IReadOnlyList<string> stopSequences)
{
    private string _held = "";

    /// <summary>Whether a stop sequence has been met; nothing may be appended after it.</summary>
    public bool Matched { get; private set; }

    /// <summary>Takes the next text and gives what may be emitted: never any part of a stop sequence.</summary>
    /// <param name="text">What was generated.</param>
    public string Append(string text)
    {
        if (Matched)
        {
            throw new InvalidOperationException("the text ended with a stop sequence");
        }

        if (stopSequences.Count == 0 || text.Length == 0)
        {
            return text;
        }

        var all = _held + text;
        var (start, end) = FirstMatch(all);
        if (end >= 0)
        {
            Matched = true;
            _held = "";
            return all[..start];
        }

        var emitted = all.Length - HeldLength(all);
        _held = all[emitted..];
        return all[..emitted];
    }

    /// <summary>The text that was held back, when no more will come.</summary>
    public string Flush()
    {
        var held = _held;
        _held = "";
        return held;
    }

    private (int Start, int End) FirstMatch(string text)
    {
        var best = (Start: 0, End: -1);
        foreach (var stop in stopSequences)
        {
            var start = text.IndexOf(stop, StringComparison.Ordinal);
            var end = start + stop.Length;
            if (start >= 0 && (best.End < 0 || end < best.End || (end == best.End && start < best.Start)))
            {
                best = (start, end);
            }
        }

        return best;
    }

    private int HeldLength(string text)
    {
        var held = 0;
        foreach (var stop in stopSequences)
        {
            for (var length = Math.Min(stop.Length - 1, text.Length); length > held; length--)
            {
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                {
                    held = length;
                }
            }
        }

        return held;
    }
}
