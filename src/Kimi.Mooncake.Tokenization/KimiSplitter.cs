using static Kimi.Mooncake.Tokenization.CharacterClass;

namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// Cuts text into the pieces inside which bytes merge: the split rules published with the Kimi tokenizer, matched by
/// hand because .NET's expressions have neither class intersection nor scripts.
/// </summary>
/// <remarks>
/// The rules, tried in order at each place; A is <see cref="WordHead"/>, B is <see cref="WordTail"/>, the lead is any
/// character but a line end, letter or number:
/// 1 <c>Han+</c>; 2 <c>lead? A* B+ contraction?</c>; 3 <c>lead? A+ B* contraction?</c>; 4 <c>N{1,3}</c>;
/// 5 <c>space? symbol+ lineend*</c>; 6 <c>\s* lineend+</c>; 7 <c>\s+ not before \S</c>; 8 <c>\s+</c>.
/// </remarks>
internal static class KimiSplitter
{
    /// <summary>Code points after which the reference encoder starts anew.</summary>
    private const int SliceCodePointsMax = 400_000;

    /// <summary>Longest run of space, or of anything else, that the reference encoder keeps together.</summary>
    private const int RunCodePointsMax = 25_000;

    /// <summary>End of the slice that begins at <paramref name="start"/>; pieces never cross it.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="start">Where the slice begins.</param>
    /// <param name="windowLeft">Code points left until the next forced cut; 0 at the start of the text.</param>
    public static int SliceEnd(ReadOnlySpan<char> text, int start, ref int windowLeft)
    {
        if (windowLeft == 0)
        {
            windowLeft = SliceCodePointsMax;
        }

        var run = 0;
        var runIsSpace = false;
        var i = start;
        while (i < text.Length && windowLeft > 0)
        {
            // The reference asks Python's isspace, which also holds for the four separators U+001C to U+001F.
            var classes = CharacterClasses.At(text, i, out var units);
            var space = (classes & Space) != 0 || text[i] is >= '\x1C' and <= '\x1F';
            run = space == runIsSpace ? run + 1 : 1;
            runIsSpace = space;
            if (run > RunCodePointsMax)
            {
                return i;
            }

            i += units;
            windowLeft--;
        }

        return i;
    }

    /// <summary>End of the piece that begins at <paramref name="start"/>.</summary>
    /// <param name="text">One slice.</param>
    /// <param name="start">Below the length.</param>
    public static int PieceEnd(ReadOnlySpan<char> text, int start)
    {
        var first = CharacterClasses.At(text, start, out var units);
        if ((first & Han) != 0)
        {
            return RunEnd(text, start, Han);
        }

        if (TryWord(text, start, first, units, out var end))
        {
            return end;
        }

        if ((first & Number) != 0)
        {
            return NumberEnd(text, start);
        }

        if (TrySymbols(text, start, out end))
        {
            return end;
        }

        return SpaceEnd(text, start);
    }

    private static bool TryWord(
        ReadOnlySpan<char> text, int start, CharacterClass first, int units, out int end)
    {
        var canLead = (first & (LineEnd | Letter | Number)) == 0;
        var afterLead = start + units;
        if ((canLead && TryTailWord(text, afterLead, out end)) || TryTailWord(text, start, out end))
        {
            end = ContractionEnd(text, end);
            return true;
        }

        var headStart = afterLead;
        var headEnd = canLead ? RunEnd(text, afterLead, WordHead) : headStart;
        if (headEnd == headStart)
        {
            headStart = start;
            headEnd = RunEnd(text, start, WordHead);
        }

        if (headEnd == headStart)
        {
            end = start;
            return false;
        }

        end = ContractionEnd(text, RunEnd(text, headEnd, WordTail));
        return true;
    }

    /// <summary>
    /// <c>A* B+</c>: the heads are taken greedily and given back until a tail follows, so the match ends either with
    /// the tails after the heads or with the last head that is a tail too.
    /// </summary>
    private static bool TryTailWord(ReadOnlySpan<char> text, int start, out int end)
    {
        var i = start;
        end = start;
        while (i < text.Length)
        {
            var classes = CharacterClasses.At(text, i, out var units);
            if ((classes & WordHead) == 0)
            {
                if ((classes & WordTail) != 0)
                {
                    end = RunEnd(text, i, WordTail);
                }

                break;
            }

            i += units;
            if ((classes & WordTail) != 0)
            {
                end = i;
            }
        }

        return end > start;
    }

    private static int ContractionEnd(ReadOnlySpan<char> text, int index)
    {
        if (index + 1 >= text.Length || text[index] != '\'')
        {
            return index;
        }

        // U+017F, the long s, folds to s where case is ignored.
        var first = text[index + 1] == '\u017F' ? 's' : ToLowerAscii(text[index + 1]);
        if (first is 's' or 't' or 'm' or 'd')
        {
            return index + 2;
        }

        var second = index + 2 < text.Length ? ToLowerAscii(text[index + 2]) : '\0';
        return (first, second) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? index + 3 : index;
    }

    private static char ToLowerAscii(char value) => char.IsAsciiLetterUpper(value) ? (char)(value | 0x20) : value;

    private static int NumberEnd(ReadOnlySpan<char> text, int start)
    {
        var end = start;
        for (var digits = 0; digits < 3 && end < text.Length; digits++)
        {
            if ((CharacterClasses.At(text, end, out var units) & Number) == 0)
            {
                break;
            }

            end += units;
        }

        return end;
    }

    private static bool TrySymbols(ReadOnlySpan<char> text, int start, out int end)
    {
        var symbols = text[start] == ' ' ? start + 1 : start;
        end = symbols;
        while (end < text.Length)
        {
            if ((CharacterClasses.At(text, end, out var units) & (Space | Letter | Number)) != 0)
            {
                break;
            }

            end += units;
        }

        if (end == symbols)
        {
            return false;
        }

        end = RunEnd(text, end, LineEnd);
        return true;
    }

    private static int SpaceEnd(ReadOnlySpan<char> text, int start)
    {
        var end = RunEnd(text, start, Space);
        var lastLineEnd = text[start..end].LastIndexOfAny('\r', '\n');
        if (lastLineEnd >= 0)
        {
            return start + lastLineEnd + 1;
        }

        return end == text.Length || end - start == 1 ? end : end - 1;
    }

    private static int RunEnd(ReadOnlySpan<char> text, int start, CharacterClass wanted)
    {
        var end = start;
        while (end < text.Length && (CharacterClasses.At(text, end, out var units) & wanted) != 0)
        {
            end += units;
        }

        return end;
    }
}
