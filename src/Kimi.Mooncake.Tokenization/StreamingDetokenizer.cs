using System.Text;

namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// Turns a stream of tokens into text without ever emitting half a character: bytes of an incomplete UTF-8 sequence
/// wait for the next token, and invalid ones become U+FFFD as soon as they are known to be. One per generated sequence.
/// </summary>
/// <param name="vocabulary">The model's tokens.</param>
public sealed class StreamingDetokenizer(BpeVocabulary vocabulary)
{
    private readonly Decoder _decoder = new UTF8Encoding(false, throwOnInvalidBytes: false).GetDecoder();

    // Up to three bytes may be waiting, and each byte gives at most one UTF-16 unit.
    private readonly char[] _characters = new char[vocabulary.TokenBytesMax + 4];

    /// <summary>The text that a token completes; empty for a control token and inside a character.</summary>
    /// <param name="tokenId">The next token.</param>
    public string Append(int tokenId)
    {
        if (vocabulary.IsSpecial(tokenId))
        {
            return "";
        }

        var count = _decoder.GetChars(vocabulary.Bytes(tokenId), _characters, flush: false);
        return count == 0 ? "" : new string(_characters, 0, count);
    }

    /// <summary>What remains at the end: U+FFFD for an unfinished character, otherwise nothing.</summary>
    public string Flush()
    {
        var count = _decoder.GetChars([], _characters, flush: true);
        return count == 0 ? "" : new string(_characters, 0, count);
    }
}
