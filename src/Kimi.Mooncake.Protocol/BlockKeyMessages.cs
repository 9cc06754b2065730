using Google.Protobuf;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Protocol;

/// <summary>Block keys between their records and a field of bytes, in which they stand one after the other.</summary>
public static class BlockKeyMessages
{
    /// <summary>The field of some keys, 32 bytes each.</summary>
    /// <param name="keys">The keys, in order.</param>
    public static ByteString ToBytes(ReadOnlySpan<BlockKey> keys)
    {
        var bytes = new byte[keys.Length * BlockKey.SizeBytes];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i].CopyTo(bytes.AsSpan(i * BlockKey.SizeBytes));
        }

        return UnsafeByteOperations.UnsafeWrap(bytes);
    }

    /// <summary>The keys of a field.</summary>
    /// <param name="bytes">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <exception cref="InvalidDataException">Its length is no multiple of a key's.</exception>
    public static BlockKey[] ToKeys(ByteString bytes, string field)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        if (bytes.Length % BlockKey.SizeBytes != 0)
        {
            throw FieldCheck.Fault(field, $"{bytes.Length} bytes", $"a multiple of {BlockKey.SizeBytes}");
        }

        var keys = new BlockKey[bytes.Length / BlockKey.SizeBytes];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = new BlockKey(bytes.Span.Slice(i * BlockKey.SizeBytes, BlockKey.SizeBytes));
        }

        return keys;
    }
}
