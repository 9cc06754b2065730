using System.Text;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.OpenAi;

namespace Kimi.Mooncake.Gateway.Tests;

internal sealed class ChoiceTextTests
{
    [Test]
    public void Append_TextHeldBack_ItsTokensAreToo()
    {
        var text = New("END");

        Assert.That(Show(Append(text, "a")), Is.EqualTo("a|a@0"));
        Assert.That(Show(Append(text, "E")), Is.EqualTo("|"));
        Assert.That(Show(Append(text, "N")), Is.EqualTo("|"));
        Assert.That(Show(Append(text, "x")), Is.EqualTo("ENx|E@1 N@2 x@3"));
    }

    [Test]
    public void Append_StopSequence_DropsItsTokens()
    {
        var text = New("END");
        foreach (var part in "aEN")
        {
            Append(text, part.ToString());
        }

        Assert.That(Show(Append(text, "D")), Is.EqualTo("|"));
        Assert.That(text.Stopped, Is.True);
        Assert.That(Show(text.Finish()), Is.EqualTo("|"));
        Assert.That(text.TokenCount, Is.EqualTo(4), "generated all the same");
    }

    [Test]
    public void Finish_TextHeldBack_ComesWithItsTokens()
    {
        var text = New("END");
        Append(text, "E");

        Assert.That(Show(text.Finish()), Is.EqualTo("E|E@0"));
    }

    [Test]
    public void Finish_HalfACharacter_IsReplacedAndMayStillStop()
    {
        var text = New("x\uFFFD");
        Append(text, "x");
        text.Append(new TokenGenerated(0xE7, 0, []));

        Assert.That(Show(text.Finish()), Is.EqualTo("|"));
        Assert.That(text.Stopped, Is.True);
    }

    [Test]
    public void Append_CharacterOfSeveralTokens_ReleasesThemTogether()
    {
        var text = New();
        var bytes = Encoding.UTF8.GetBytes("é");

        Assert.That(text.Append(new TokenGenerated(bytes[0], 0, [])).IsEmpty, Is.True);
        Assert.That(text.Append(new TokenGenerated(bytes[1], 0, [])).Tokens, Has.Count.EqualTo(2));
    }

    private static ChoiceText New(params string[] stop) =>
        new(RunningGateway.Tokenizer.Vocabulary, stop, keepTokens: true);

    private static TextDelta Append(ChoiceText text, string character) =>
        text.Append(new TokenGenerated(character[0], 0, []));

    private static string Show(TextDelta delta) =>
        delta.Text + "|" + string.Join(' ', delta.Tokens.Select(t => $"{(char)t.Token.TokenId}@{t.TextOffset}"));
}
