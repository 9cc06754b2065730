using System.Text;

namespace Kimi.Mooncake.Tokenization.Tests;

internal sealed class StreamingTests
{
    private static readonly BpeVocabulary Vocabulary = BuiltInVocabulary.Tokenizer.Vocabulary;

    [Test]
    public void Append_MultiByteCharacters_ComeWholeAndAtOnce()
    {
        var detokenizer = new StreamingDetokenizer(Vocabulary);

        var pieces = Encoding.UTF8.GetBytes("é界🚀").Select(b => detokenizer.Append(b)).ToArray();

        string[] expected = ["", "é", "", "", "界", "", "", "", "🚀"];
        Assert.That(pieces, Is.EqualTo(expected));
        Assert.That(detokenizer.Flush(), Is.Empty);
    }

    [Test]
    public void Append_InvalidByte_BecomesReplacementWhenKnown()
    {
        var detokenizer = new StreamingDetokenizer(Vocabulary);

        Assert.That(detokenizer.Append(0xE7), Is.Empty, "may still become a character");
        Assert.That(detokenizer.Append('a'), Is.EqualTo("\uFFFDa"));
        Assert.That(detokenizer.Append(0xFF), Is.EqualTo("\uFFFD"));
    }

    [Test]
    public void Flush_UnfinishedCharacter_IsReplaced()
    {
        var detokenizer = new StreamingDetokenizer(Vocabulary);
        _ = detokenizer.Append(0xF0);
        _ = detokenizer.Append(0x9F);

        Assert.That(detokenizer.Flush(), Is.EqualTo("\uFFFD"));
        Assert.That(detokenizer.Append('b'), Is.EqualTo("b"));
    }

    [Test]
    public void Append_ControlToken_IsNotText()
    {
        var detokenizer = new StreamingDetokenizer(Vocabulary);

        Assert.That(detokenizer.Append(BuiltInVocabulary.Special("<|im_end|>")), Is.Empty);
    }

    [Test]
    public void StopSequence_AcrossEveryCut_EndsAtTheSamePlace()
    {
        const string Text = "one END twENDo";
        for (var cut = 1; cut <= Text.Length; cut++)
        {
            var matcher = new StopSequenceMatcher(["ENDo", "wEN"]);
            var emitted = new StringBuilder();
            for (var i = 0; i < Text.Length && !matcher.Matched; i += cut)
            {
                emitted.Append(matcher.Append(Text[i..Math.Min(i + cut, Text.Length)]));
            }

            Assert.That(matcher.Matched, Is.True);
            Assert.That(emitted.ToString(), Is.EqualTo("one END t"), $"cut every {cut}");
        }
    }

    [Test]
    public void StopSequence_PossibleBeginning_IsHeldBackUntilDecided()
    {
        var matcher = new StopSequenceMatcher(["\n\n"]);

        Assert.That(matcher.Append("a\n"), Is.EqualTo("a"));
        Assert.That(matcher.Append("b\n"), Is.EqualTo("\nb"));
        Assert.That(matcher.Flush(), Is.EqualTo("\n"));
    }

    [Test]
    public void StopSequence_None_PassesTextThrough() =>
        Assert.That(new StopSequenceMatcher([]).Append("text"), Is.EqualTo("text"));
}
