using System.Globalization;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The names behind the hashes in index entries, in a file beside the segments: one line each, CRC-32C in
/// hexadecimal, a space, the name percent-encoded. A name that is lost is found again in the blocks' records. Any
/// thread may call.
/// </summary>
internal sealed class TenantNames
{
    public const string FileName = "tenants";

    private readonly string _path;
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, string> _names = [];
    private bool _unsaved;

    public TenantNames(string directory)
    {
        _path = Path.Combine(directory, FileName);
        foreach (var name in Read(_path))
        {
            _names[HashOf(name)] = name;
        }
    }

    /// <summary>What stands for a name in an index entry.</summary>
    public static ulong HashOf(string name)
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(
            System.Security.Cryptography.SHA256.HashData(bytes));
    }

    /// <summary>The names in a file; what is damaged is passed over.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public static IEnumerable<string> Read(string path)
    {
        foreach (var line in File.Exists(path) ? File.ReadAllLines(path) : [])
        {
            if (line.Length >= 9 && uint.TryParse(line.AsSpan(0, 8), NumberStyles.HexNumber, null, out var checksum) &&
                checksum == Checksum(line[9..]))
            {
                yield return Uri.UnescapeDataString(line[9..]);
            }
        }
    }

    /// <summary>Notes a name, to be written by the next <see cref="Save"/>.</summary>
    public void Add(string name)
    {
        lock (_gate)
        {
            _unsaved |= _names.TryAdd(HashOf(name), name);
        }
    }

    /// <summary>The name behind a hash; null when it is lost.</summary>
    public string? Find(ulong hash)
    {
        lock (_gate)
        {
            return _names.GetValueOrDefault(hash);
        }
    }

    /// <summary>Writes the file if a name is new.</summary>
    /// <exception cref="IOException">The disk refuses; the file is as it was.</exception>
    public void Save(bool sync)
    {
        string[] lines;
        lock (_gate)
        {
            if (!_unsaved)
            {
                return;
            }

            lines = [.. _names.Values.Select(static name => Uri.EscapeDataString(name)).Select(
                static text => string.Create(CultureInfo.InvariantCulture, $"{Checksum(text):x8} {text}"))];
            _unsaved = false;
        }

        try
        {
            CheckedFile.Replace(_path, string.Join('\n', lines) + "\n", sync);
        }
        catch
        {
            lock (_gate)
            {
                _unsaved = true;
            }

            throw;
        }
    }

    private static uint Checksum(string text) =>
        Crc32C.Finish(Crc32C.Append(Crc32C.Start, Encoding.UTF8.GetBytes(text)));
}
