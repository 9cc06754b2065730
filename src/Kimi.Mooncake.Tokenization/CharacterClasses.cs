using System.Globalization;

namespace Kimi.Mooncake.Tokenization;

/// <summary>What the split rules ask about a character; a character may have several of these.</summary>
[Flags]
internal enum CharacterClass : byte
{
    /// <summary>None of the others: punctuation, symbols, unassigned.</summary>
    None = 0,

    /// <summary>General category L.</summary>
    Letter = 1,

    /// <summary>General category N.</summary>
    Number = 2,

    /// <summary>White_Space.</summary>
    Space = 4,

    /// <summary>CR or LF.</summary>
    LineEnd = 8,

    /// <summary>Script Han.</summary>
    Han = 16,

    /// <summary>Lu, Lt, Lm, Lo or M, and not Han: what a word may begin with.</summary>
    WordHead = 32,

    /// <summary>Ll, Lm, Lo or M, and not Han: what a word may end with.</summary>
    WordTail = 64,
}

/// <summary>Unicode facts behind the split rules, as a table for the basic plane.</summary>
internal static class CharacterClasses
{
    /// <summary>Script=Han (Unicode 16, Scripts.txt), inclusive pairs.</summary>
    private static readonly int[] HanRanges =
    [
        0x2E80, 0x2E99, 0x2E9B, 0x2EF3, 0x2F00, 0x2FD5, 0x3005, 0x3005, 0x3007, 0x3007, 0x3021, 0x3029,
        0x3038, 0x303B, 0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xF900, 0xFA6D, 0xFA70, 0xFAD9, 0x16FE2, 0x16FE3,
        0x16FF0, 0x16FF1, 0x20000, 0x2A6DF, 0x2A700, 0x2B739, 0x2B740, 0x2B81D, 0x2B820, 0x2CEA1,
        0x2CEB0, 0x2EBE0, 0x2EBF0, 0x2EE5D, 0x2F800, 0x2FA1D, 0x30000, 0x3134A, 0x31350, 0x323AF,
    ];

    private static readonly CharacterClass[] BasicPlane = BuildBasicPlane();

    /// <summary>Classes of the code point at a place, and the UTF-16 units it takes.</summary>
    /// <param name="text">The text; a lone surrogate counts as U+FFFD, a symbol.</param>
    /// <param name="index">Below the length.</param>
    /// <param name="units">1 or 2.</param>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int units)
    {
        var first = text[index];
        if (char.IsHighSurrogate(first) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]))
        {
            units = 2;
            return Classify(char.ConvertToUtf32(first, text[index + 1]));
        }

        units = 1;
        return BasicPlane[first];
    }

    private static CharacterClass[] BuildBasicPlane()
    {
        var table = new CharacterClass[0x10000];
        for (var code = 0; code < table.Length; code++)
        {
            table[code] = code is >= 0xD800 and <= 0xDFFF ? CharacterClass.None : Classify(code);
        }

        return table;
    }

    private static CharacterClass Classify(int code)
    {
        var category = CharUnicodeInfo.GetUnicodeCategory(code);
        var classes = CharacterClass.None;
        var han = IsHan(code);
        classes |= han ? CharacterClass.Han : CharacterClass.None;
        classes |= code <= char.MaxValue && char.IsWhiteSpace((char)code) ? CharacterClass.Space : CharacterClass.None;
        classes |= code is '\r' or '\n' ? CharacterClass.LineEnd : CharacterClass.None;
        classes |= category switch
        {
            <= UnicodeCategory.OtherLetter => CharacterClass.Letter,
            >= UnicodeCategory.DecimalDigitNumber and <= UnicodeCategory.OtherNumber => CharacterClass.Number,
            _ => CharacterClass.None,
        };
        if (!han)
        {
            classes |= category switch
            {
                UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => CharacterClass.WordHead,
                UnicodeCategory.LowercaseLetter => CharacterClass.WordTail,
                UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.NonSpacingMark
                    or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
                    => CharacterClass.WordHead | CharacterClass.WordTail,
                _ => CharacterClass.None,
            };
        }

        return classes;
    }

    private static bool IsHan(int code)
    {
        for (var i = 0; i < HanRanges.Length; i += 2)
        {
            if (code >= HanRanges[i] && code <= HanRanges[i + 1])
            {
                return true;
            }
        }

        return false;
    }
}
