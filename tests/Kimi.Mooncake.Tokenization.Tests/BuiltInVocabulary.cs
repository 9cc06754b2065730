namespace Kimi.Mooncake.Tokenization.Tests;

/// <summary>A vocabulary shaped like the built-in model's: a token for each byte, then control tokens.</summary>
internal static class BuiltInVocabulary
{
    public static readonly string[] Specials =
    [
        "[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "[EOT]", "<|im_system|>", "<|im_middle|>",
    ];

    public static string[] Tokens { get; } =
        [.. Enumerable.Range(0, 256).Select(b => ByteAlphabet.Write([(byte)b])), .. Specials];

    public static int[] Types { get; } = [.. Enumerable.Repeat(1, 256), .. Enumerable.Repeat(3, Specials.Length)];

    public static KimiTokenizer Tokenizer { get; } =
        new(new BpeVocabulary(Tokens, Types, [ByteAlphabet.Write([0xF8]) + " " + ByteAlphabet.Write([0xF9])]));

    public static int Special(string text) => 256 + Array.IndexOf(Specials, text);
}
