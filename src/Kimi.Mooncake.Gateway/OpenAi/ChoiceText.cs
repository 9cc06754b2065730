using System.Text;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Tokenization;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>A token and the place in the choice's text where it begins.</summary>
/// <param name="Token">The token and its alternatives.</param>
/// <param name="TextOffset">UTF-16 units before it.</param>
internal readonly record struct PlacedToken(TokenGenerated Token, int TextOffset);

/// <summary>What may be sent now.</summary>
/// <param name="Text">Whole characters, none of them part of a stop sequence.</param>
/// <param name="Tokens">The tokens that make up the text; empty unless log-probabilities are wanted.</param>
internal readonly record struct TextDelta(string Text, IReadOnlyList<PlacedToken> Tokens)
{
    public bool IsEmpty => Text.Length == 0 && Tokens.Count == 0;
}

/// <summary>
/// One choice's tokens as text: whole characters only, ended by stop sequences, with log-probabilities that travel with
/// the text they belong to.
/// </summary>
/// <param name="vocabulary">The model's tokens.</param>
/// <param name="stopSequences">Texts that end the choice.</param>
/// <param name="keepTokens">Whether log-probabilities are wanted.</param>
internal sealed class ChoiceText(BpeVocabulary vocabulary, IReadOnlyList<string> stopSequences, bool keepTokens)
{
    // Shared by all deltas without tokens; nobody adds to it.
    private static readonly List<PlacedToken> None = [];

    private readonly StreamingDetokenizer _detokenizer = new(vocabulary);
    private readonly StopSequenceMatcher _stop = new(stopSequences);
    private readonly Queue<PlacedToken> _waiting = new();
    private int _generatedChars;
    private int _emittedChars;

    /// <summary>Tokens taken so far.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Whether a stop sequence ended the text.</summary>
    public bool Stopped => _stop.Matched;

    /// <summary>Takes a token.</summary>
    public TextDelta Append(TokenGenerated token)
    {
        TokenCount++;
        if (keepTokens)
        {
            _waiting.Enqueue(new PlacedToken(token, _generatedChars));
        }

        var text = _detokenizer.Append(token.TokenId);
        _generatedChars += text.Length;
        var emitted = _stop.Append(text);
        _emittedChars += emitted.Length;
        return new TextDelta(emitted, Release(all: false));
    }

    /// <summary>What was held back, when no token follows; nothing after a stop sequence.</summary>
    public TextDelta Finish()
    {
        if (Stopped)
        {
            return new TextDelta("", []);
        }

        var text = _stop.Append(_detokenizer.Flush());
        text = _stop.Matched ? text : text + _stop.Flush();
        _emittedChars += text.Length;
        return new TextDelta(text, Release(all: !_stop.Matched));
    }

    /// <summary>A token begins before the end of the emitted text, or it is not sent yet.</summary>
    private List<PlacedToken> Release(bool all)
    {
        if (_waiting.Count == 0)
        {
            return None;
        }

        var released = new List<PlacedToken>();
        while (_waiting.TryPeek(out var placed) && (all || placed.TextOffset < _emittedChars))
        {
            released.Add(_waiting.Dequeue());
        }

        return released;
    }
}

/// <summary>How single tokens are shown.</summary>
internal static class TokenNames
{
    /// <summary>The token's text, or <c>bytes:\xNN…</c> where its bytes are not whole characters.</summary>
    public static string Of(BpeVocabulary vocabulary, int tokenId)
    {
        var bytes = vocabulary.Bytes(tokenId);
        return System.Text.Unicode.Utf8.IsValid(bytes)
            ? Encoding.UTF8.GetString(bytes)
            : "bytes:" + string.Concat(bytes.ToArray().Select(b => $"\\x{b:x2}"));
    }
}
