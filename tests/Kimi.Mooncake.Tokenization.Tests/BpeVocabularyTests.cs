namespace Kimi.Mooncake.Tokenization.Tests;

internal sealed class BpeVocabularyTests
{
    private static string[] Tokens => BuiltInVocabulary.Tokens;

    private static int[] Types => BuiltInVocabulary.Types;

    [Test]
    public void Constructor_TypesOfOtherLength_SaysBoth() =>
        AssertInvalid(() => new BpeVocabulary(Tokens, [1, 2], []), "264 tokens but 2 token types");

    [Test]
    public void Constructor_UnknownType_NamesToken() =>
        AssertInvalid(() => new BpeVocabulary(Tokens, [.. Types[..5], 9, .. Types[6..]], []), "token 5");

    [Test]
    public void Constructor_DuplicateToken_NamesBoth() =>
        AssertInvalid(() => new BpeVocabulary([.. Tokens, "!"], [.. Types, 1], []), "token 264 ('!') is also token 33");

    [Test]
    public void Constructor_DuplicateControlToken_NamesIt() =>
        AssertInvalid(() => new BpeVocabulary([.. Tokens, "[EOS]"], [.. Types, 3], []), "token 264");

    [Test]
    public void Constructor_TokenOutsideAlphabet_NamesIt() =>
        AssertInvalid(() => new BpeVocabulary([.. Tokens, "界"], [.. Types, 1], []), "token 264 ('界')");

    [Test]
    public void Constructor_MissingByte_NamesIt() =>
        AssertInvalid(() => new BpeVocabulary([.. Tokens[1..]], [.. Types[1..]], []), "byte 0x00");

    [TestCase("ab")]
    [TestCase("a ")]
    [TestCase(" b")]
    [TestCase("a 界")]
    public void Constructor_BadMerge_NamesIndex(string merge) =>
        AssertInvalid(() => new BpeVocabulary([.. Tokens, "ab"], [.. Types, 1], ["a b", merge]), "merge 1");

    [Test]
    public void Constructor_RepeatedMerge_NamesBoth() => AssertInvalid(
        () => new BpeVocabulary([.. Tokens, "ab"], [.. Types, 1], ["a b", "a b"]), "merge 1 ('a b') is also merge 0");

    [Test]
    public void MergesWithoutToken_ProductIsNoToken_IsCounted()
    {
        var vocabulary = new BpeVocabulary(Tokens, Types, ["a b"]);

        Assert.That(vocabulary.MergesWithoutToken, Is.EqualTo(1));
        Assert.That(vocabulary.HasMerges, Is.False);
    }

    private static void AssertInvalid(Func<BpeVocabulary> build, string message) =>
        Assert.That(build, Throws.TypeOf<InvalidDataException>().With.Message.Contains(message));
}
