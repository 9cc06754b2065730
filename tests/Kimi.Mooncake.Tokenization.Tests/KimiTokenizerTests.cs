using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace Kimi.Mooncake.Tokenization.Tests;

internal sealed class KimiTokenizerTests
{
    [Test]
    public void Encode_PublishedVectors_EqualIds()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllBytes(KimiVocabulary.DataFile("vectors.json")));
        using (Assert.EnterMultipleScope())
        {
            foreach (var vector in vectors.RootElement.GetProperty("cases").EnumerateArray())
            {
                var text = vector.GetProperty("text").GetString()!;
                var expected = vector.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32()).ToArray();

                var ids = KimiVocabulary.Tokenizer.Encode(text, vector.GetProperty("special").GetBoolean());

                Assert.That(ids, Is.EqualTo(expected), text);
            }
        }
    }

    [Test]
    public void PieceEnd_PublishedVectors_EqualPieces()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllBytes(KimiVocabulary.DataFile("vectors.json")));
        using (Assert.EnterMultipleScope())
        {
            foreach (var vector in vectors.RootElement.GetProperty("cases").EnumerateArray())
            {
                if (!vector.TryGetProperty("split", out var split))
                {
                    continue;
                }

                var expected = split.EnumerateArray().Select(s => s.GetString()!).ToArray();
                Assert.That(Split(vector.GetProperty("text").GetString()!), Is.EqualTo(expected));
            }
        }
    }

    [TestCase("のABC", new[] { "の", "ABC" })]
    [TestCase("\u0301x", new[] { "\u0301x" })]
    [TestCase("a\u0301\u0301!", new[] { "a\u0301\u0301", "!" })]
    [TestCase("DON'T it's", new[] { "DON'T", " it's" })]
    [TestCase("  \r\n \tx", new[] { "  \r\n", " ", "\tx" })]
    [TestCase("!!\r\n\r\nx", new[] { "!!\r\n\r\n", "x" })]
    [TestCase("x   ", new[] { "x", "   " })]
    [TestCase("𠀀𠀀a", new[] { "𠀀𠀀", "a" })]
    public void PieceEnd_Rules_CutAsPublished(string text, string[] expected) =>
        Assert.That(Split(text), Is.EqualTo(expected));

    [Test]
    public void PieceEnd_LoneSurrogate_IsASymbol()
    {
        string[] expected = ["\uD800a", " \uDC00"];
        Assert.That(Split("\uD800a \uDC00"), Is.EqualTo(expected));
    }

    [Test]
    public void Encode_RandomTexts_DecodeToThemselves()
    {
        const int Seed = 20261122;
        var random = new Random(Seed);
        foreach (var tokenizer in new[] { BuiltInVocabulary.Tokenizer, KimiVocabulary.Tokenizer })
        {
            for (var round = 0; round < 10_000; round++)
            {
                var text = RandomText(random);
                var decoded = tokenizer.Decode(tokenizer.Encode(text));
                if (decoded != text)
                {
                    Assert.Fail($"seed {Seed}, round {round}: '{text}' came back as '{decoded}'");
                }
            }
        }
    }

    [Test]
    public void Encode_RandomBytePieces_EqualNaiveMerging()
    {
        const int Seed = 7;
        var random = new Random(Seed);
        var vocabulary = KimiVocabulary.Tokenizer.Vocabulary;
        var merger = new BytePairMerger(vocabulary);
        for (var round = 0; round < 2_000; round++)
        {
            var piece = new byte[random.Next(1, 60)];
            foreach (ref var value in piece.AsSpan())
            {
                value = (byte)"aabcdeinorst \n"[random.Next(14)];
            }

            var ids = new List<int>();
            merger.Encode(piece, ids);

            Assert.That(ids, Is.EqualTo(NaiveMerge(vocabulary, piece)), $"seed {Seed}, round {round}");
        }
    }

    [Test]
    public void Encode_NamesOfControlTokens_AreTextUnlessAllowed()
    {
        const string Text = "a<|im_end|>b[EOS]";
        var tokenizer = BuiltInVocabulary.Tokenizer;

        var plain = tokenizer.Encode(Text);
        var special = tokenizer.Encode(Text, allowSpecial: true);

        Assert.That(plain, Is.EqualTo(Encoding.UTF8.GetBytes(Text).Select(b => (int)b)));
        int[] expected = ['a', BuiltInVocabulary.Special("<|im_end|>"), 'b', BuiltInVocabulary.Special("[EOS]")];
        Assert.That(special, Is.EqualTo(expected));
    }

    [Test]
    public void Encode_LoneSurrogate_BecomesReplacementCharacter()
    {
        int[] expected = ['a', 0xEF, 0xBF, 0xBD, 'b'];
        Assert.That(BuiltInVocabulary.Tokenizer.Encode("a\uD800b"), Is.EqualTo(expected));
    }

    [Test]
    public void Encode_LongTexts_TakeLinearTime()
    {
        // The limit is far above the cost and far below that of anything quadratic.
        var limit = TimeSpan.FromSeconds(20);
        var texts = new[]
        {
            new string('a', 1 << 20), new string(' ', 1 << 20), new string('界', 1 << 19), new string('!', 1 << 20),
            string.Concat(Enumerable.Repeat("The quick brown fox, 123 times. ", 1 << 15)),
        };
        _ = KimiVocabulary.Tokenizer;
        var watch = Stopwatch.StartNew();
        foreach (var text in texts)
        {
            var ids = KimiVocabulary.Tokenizer.Encode(text);
            TestContext.Out.WriteLine($"{text[..8]}: {ids.Length} tokens, {watch.ElapsedMilliseconds} ms so far");
        }

        Assert.That(watch.Elapsed, Is.LessThan(limit));
    }

    [Test]
    public void Encode_BuiltInModel_MebibyteInTwoSeconds()
    {
        var text = new string('x', 1 << 20);
        var watch = Stopwatch.StartNew();
        var ids = BuiltInVocabulary.Tokenizer.Encode(text);

        Assert.That(ids, Has.Length.EqualTo(1 << 20));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(2)));
    }

    private static List<string> Split(string text)
    {
        var pieces = new List<string>();
        for (var start = 0; start < text.Length;)
        {
            var end = KimiSplitter.PieceEnd(text, start);
            pieces.Add(text[start..end]);
            start = end;
        }

        return pieces;
    }

    private static List<int> NaiveMerge(BpeVocabulary vocabulary, byte[] piece)
    {
        var ids = piece.Select(vocabulary.ByteToken).ToList();
        while (ids.Count > 1)
        {
            var best = Enumerable.Range(0, ids.Count - 1).MinBy(i => vocabulary.FindMerge(ids[i], ids[i + 1]).Rank);
            var merge = vocabulary.FindMerge(ids[best], ids[best + 1]);
            if (merge.Product < 0)
            {
                break;
            }

            ids[best] = merge.Product;
            ids.RemoveAt(best + 1);
        }

        return ids;
    }

    private static string RandomText(Random random)
    {
        var text = new StringBuilder();
        for (var i = random.Next(0, 40); i > 0; i--)
        {
            var code = random.Next(8) switch
            {
                0 => random.Next(0x80, 0xD800),
                1 => random.Next(0xE000, 0x110000),
                2 => random.Next(0x4E00, 0x9FFF),
                3 => "\r\n\t '"[random.Next(5)],
                _ => random.Next(0x20, 0x7F),
            };
            text.Append(char.ConvertFromUtf32(code));
        }

        return text.ToString();
    }
}
