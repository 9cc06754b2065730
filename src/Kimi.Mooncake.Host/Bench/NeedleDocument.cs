using System.Globalization;
using System.Text;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// A text of an exact length with planted facts, made from a seed. It is plain ASCII, so that its bytes are the tokens
/// of the built-in model. Names are unique and the words of a question occur nowhere else, so that the last 24 bytes of
/// a question, which is what that model looks for, occur once.
/// </summary>
internal sealed class NeedleDocument
{
    public const int BytesMin = 1024;

    // A fact and the filler around it; more facts than this would leave too little filler between them.
    public const int BytesPerFactMin = 160;
    private const int ParagraphSentencesMin = 3;
    private const int ParagraphSentencesMax = 8;

    private static readonly string[] Subjects =
        ["passcode", "access code", "call sign", "serial number", "home port", "storage locker", "password"];

    private static readonly string[] Birds = ["KESTREL", "HERON", "FALCON", "RAVEN", "OSPREY", "PLOVER", "CURLEW"];

    private static readonly string[] Syllables =
        ["ba", "de", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "ze", "fi", "go", "hu"];

    private static readonly string[] Endings = ["n", "r", "s", "l", "m"];

    private static readonly string[] Adjectives =
    [
        "gentle", "narrow", "early", "steady", "careful", "hidden", "distant", "wooden", "golden", "familiar", "heavy",
        "empty", "curious", "strange", "silver", "northern", "broken", "patient", "quiet", "modern",
    ];

    private static readonly string[] Nouns =
    [
        "engine", "letter", "station", "winter", "signal", "forest", "lantern", "kitchen", "journey", "bridge",
        "window", "garden", "island", "library", "harbour", "mountain", "valley", "painter", "river", "market",
    ];

    private static readonly string[] Verbs =
    [
        "followed", "reached", "closed", "carried", "ignored", "remembered", "crossed", "forgot", "visited", "opened",
        "measured", "painted", "repaired", "described", "watched",
    ];

    private static readonly string[] Places =
    [
        "before sunrise", "on the second floor", "near the coast", "under the bridge", "without a word",
        "behind the mill", "after the storm", "in the old town", "at the edge of the map",
    ];

    private static readonly string[] Adverbs = ["Almost", "Again", "Slowly", "Finally", "Quietly", "Carefully"];

    private readonly Random _random;
    private readonly HashSet<string> _names = [];

    private NeedleDocument(int seed) => _random = new Random(seed);

    public string Text { get; private set; } = "";

    /// <summary>The planted facts, in the order of the text.</summary>
    public IReadOnlyList<NeedleFact> Facts { get; private set; } = [];

    /// <summary>Makes a document.</summary>
    /// <param name="bytes">Exact length.</param>
    /// <param name="facts">How many facts are planted, evenly over the text.</param>
    /// <param name="seed">The same seed gives the same document.</param>
    public static NeedleDocument Create(int bytes, int facts, int seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, BytesMin);
        ArgumentOutOfRangeException.ThrowIfLessThan(facts, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(facts, bytes / BytesPerFactMin);
        var document = new NeedleDocument(seed);
        document.Facts = [.. Enumerable.Range(0, facts).Select(_ => document.NextFact())];
        document.Text = document.Write(bytes);
        return document;
    }

    private string Write(int bytes)
    {
        var text = new StringBuilder(bytes);
        var planted = 0;
        var left = _random.Next(ParagraphSentencesMin, ParagraphSentencesMax + 1);
        while (true)
        {
            var sentence = IsDue() ? Facts[planted++].Sentence : NextFiller();
            if (text.Length + sentence.Length + 1 > bytes)
            {
                break;
            }

            text.Append(sentence);
            left--;
            if (left > 0 || IsDue(separatorChars: 1))
            {
                text.Append(' ');
                continue;
            }

            text.Append('\n');
            left = _random.Next(ParagraphSentencesMin, ParagraphSentencesMax + 1);
        }

        if (planted < Facts.Count)
        {
            throw new InvalidOperationException($"{Facts.Count} facts do not fit in {bytes} bytes");
        }

        return EndExactly(text, bytes);

        // Fact i lies after the (i + 1/2) / n-th part of the text: never at its very beginning or end. Nor does it
        // begin a line, as the question does: facts alike in their first words would fit as well as the one asked for.
        bool IsDue(int separatorChars = 0) => planted < Facts.Count && text.Length > 0
            && text.Length + separatorChars >= ((planted + 0.5) * bytes / Facts.Count) - (BytesPerFactMin / 2);
    }

    /// <summary>Fills up with the beginning of a sentence and ends it.</summary>
    private string EndExactly(StringBuilder text, int bytes)
    {
        while (text.Length < bytes - 1)
        {
            var filler = NextFiller();
            text.Append(filler.AsSpan(0, Math.Min(filler.Length, bytes - 1 - text.Length)));
        }

        return text.Append('.').ToString();
    }

    private NeedleFact NextFact()
    {
        var subject = Subjects[_random.Next(Subjects.Length)];
        var value = _random.Next(4) switch
        {
            0 => $"{Digits(4)}-{Birds[_random.Next(Birds.Length)]}",
            1 => $"{Pick(Adjectives)}_{Pick(Nouns)}@copper/{Digits(6)}",
            2 => $"{Pick(Adjectives)} {Pick(Nouns)} {Digits(2)}",
            _ => $"{Letters(10)}",
        };
        return new NeedleFact($"The {subject} of {NextName()} is", value);
    }

    /// <summary>Three syllables and an ending: 16,875 names, none the end of another.</summary>
    private string NextName()
    {
        while (true)
        {
            var name = Pick(Syllables) + Pick(Syllables) + Pick(Syllables) + Pick(Endings);
            name = char.ToUpperInvariant(name[0]) + name[1..];
            if (_names.Add(name))
            {
                return name;
            }
        }
    }

    private string NextFiller()
    {
        var first = $"the {Pick(Adjectives)} {Pick(Nouns)}";
        var second = $"the {Pick(Adjectives)} {Pick(Nouns)}";
        return _random.Next(5) switch
        {
            0 => $"The{first[3..]} {Pick(Verbs)} {second} {Pick(Places)}.",
            1 => $"{Pick(Adverbs)}, {first} {Pick(Verbs)} {second}!",
            2 => $"In {_random.Next(1700, 2000)}, about {_random.Next(100, 10_000)} people {Pick(Verbs)} {first}.",
            3 => $"Nobody knows why {first} {Pick(Verbs)} {second} {Pick(Places)}.",
            _ => $"{Pick(Adverbs)}, {first} {Pick(Verbs)} {second} and the {Pick(Adjectives)} {Pick(Nouns)}?",
        };
    }

    private string Pick(string[] words) => words[_random.Next(words.Length)];

    private string Digits(int count) =>
        _random.Next((int)Math.Pow(10, count)).ToString(CultureInfo.InvariantCulture).PadLeft(count, '0');

    private string Letters(int count) =>
        string.Concat(Enumerable.Range(0, count).Select(_ => "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[_random.Next(32)]));
}
