using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// Names the function that a model file computes: the same weights and constants have the same fingerprint wherever the
/// file lies and whatever its name, tokenizer and order of entries are.
/// </summary>
public static class ModelFingerprint
{
    /// <summary>Files up to this size are read whole.</summary>
    public const long WholeFileBytesMax = 256L << 20;

    private const string Version = "kimi-mooncake fingerprint 1";
    private const int PieceBytes = 64 << 10;
    private const int PiecesPerTensor = 4;

    /// <summary>
    /// SHA-256 over the architecture's metadata, the tensor table (names, types, dimensions) and the tensor data, each
    /// sorted by name. Of a file larger than <see cref="WholeFileBytesMax"/> four pieces of 64 KiB of every tensor are
    /// read, the first and the last among them, and the file's length is added: such a fingerprint tells models apart,
    /// but does not notice a change in bytes between the pieces.
    /// </summary>
    /// <returns>64 lower-case hexadecimal digits.</returns>
    /// <exception cref="ModelFileException">The architecture is missing.</exception>
    public static string Compute(GgufFile file) => Compute(file, WholeFileBytesMax);

    internal static string Compute(GgufFile file, long wholeFileBytesMax)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var whole = file.LengthBytes <= wholeFileBytesMax;
        Append(hash, Version);
        Append(hash, whole ? 0 : file.LengthBytes);
        var architecture = file.GetString("general.architecture");
        Append(hash, architecture);
        var prefix = architecture + ".";
        foreach (var entry in file.Metadata
            .Where(entry => entry.Key.StartsWith(prefix, StringComparison.Ordinal))
            .OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            Append(hash, entry.Key);
            Append(hash, (long)entry.Type);
            Append(hash, (long)entry.ElementType);
            Append(hash, entry.SizeBytes);
            AppendBytes(hash, file, entry.Offset, entry.SizeBytes);
        }

        foreach (var tensor in file.Tensors.OrderBy(tensor => tensor.Name, StringComparer.Ordinal))
        {
            Append(hash, tensor.Name);
            Append(hash, tensor.Type.Id);
            Append(hash, tensor.Ne.Length);
            foreach (var extent in tensor.Ne)
            {
                Append(hash, extent);
            }

            AppendData(hash, file, tensor, whole);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static void AppendData(IncrementalHash hash, GgufFile file, GgufTensor tensor, bool whole)
    {
        if (whole || tensor.SizeBytes <= PieceBytes * PiecesPerTensor)
        {
            AppendBytes(hash, file, tensor.Offset, tensor.SizeBytes);
            return;
        }

        var stride = (tensor.SizeBytes - PieceBytes) / (PiecesPerTensor - 1);
        for (var i = 0; i < PiecesPerTensor - 1; i++)
        {
            AppendBytes(hash, file, tensor.Offset + (i * stride), PieceBytes);
        }

        AppendBytes(hash, file, tensor.Offset + tensor.SizeBytes - PieceBytes, PieceBytes);
    }

    private static void AppendBytes(IncrementalHash hash, GgufFile file, long offset, long length)
    {
        for (var done = 0L; done < length; done += PieceBytes)
        {
            hash.AppendData(file.Bytes(offset + done, (int)Math.Min(PieceBytes, length - done)));
        }
    }

    private static void Append(IncrementalHash hash, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Append(hash, bytes.Length);
        hash.AppendData(bytes);
    }

    private static void Append(IncrementalHash hash, long value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        hash.AppendData(bytes);
    }
}
