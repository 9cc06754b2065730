using System.Text;

namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// The GPT-2 byte alphabet: each of the 256 bytes has one printable character, so that token strings in model files are
/// valid text. Bytes that are printable Latin-1 stand for themselves; the others follow from U+0100 on.
/// </summary>
public static class ByteAlphabet
{
    private static readonly char[] Characters = BuildCharacters();
    private static readonly short[] Bytes = BuildBytes();

    /// <summary>Writes bytes in the alphabet, as a model file holds its tokens.</summary>
    /// <param name="bytes">Any bytes.</param>
    public static string Write(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length);
        foreach (var value in bytes)
        {
            text.Append(Characters[value]);
        }

        return text.ToString();
    }

    /// <summary>Reads a token string back into its bytes.</summary>
    /// <param name="text">A token as the model file holds it.</param>
    /// <param name="bytes">Its bytes; null where a character is outside the alphabet.</param>
    internal static bool TryRead(ReadOnlySpan<char> text, out byte[]? bytes)
    {
        var result = new byte[text.Length];
        bytes = null;
        for (var i = 0; i < text.Length; i++)
        {
            var value = text[i] < Bytes.Length ? Bytes[text[i]] : (short)-1;
            if (value < 0)
            {
                return false;
            }

            result[i] = (byte)value;
        }

        bytes = result;
        return true;
    }

    private static char[] BuildCharacters()
    {
        var characters = new char[256];
        var next = (char)256;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            characters[value] = printable ? (char)value : next++;
        }

        return characters;
    }

    private static short[] BuildBytes()
    {
        var bytes = new short[Characters.Max() + 1];
        bytes.AsSpan().Fill(-1);
        for (var value = 0; value < 256; value++)
        {
            bytes[Characters[value]] = (short)value;
        }

        return bytes;
    }
}
