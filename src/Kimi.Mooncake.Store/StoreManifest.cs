using System.Globalization;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The file that says what a folder holds. Lines: <c>kv-store VERSION</c>, <c>layout TEXT</c>, <c>fingerprint TEXT</c>,
/// <c>segment BYTES</c>, <c>payload BYTES</c>, <c>layers COUNT</c>, <c>crc HEX</c>: CRC-32C of the lines before it.
/// The first and the last line are the same in every version.
/// </summary>
internal sealed record StoreManifest(
    int Version, string Layout, string Fingerprint, long SegmentBytes, int PayloadBytes, int LayerCount)
{
    public const string FileName = "format";

    private const string Title = "kv-store ";
    private const string ChecksumTitle = "crc ";
    private const int FileBytesMax = 64 * 1024;

    /// <summary>What is needed to read the records of the folder.</summary>
    public RecordFormat Format => new(
        StoreGeometry.MakeIdentity(Layout, Fingerprint, SegmentBytes), PayloadBytes, LayerCount, SegmentBytes);

    public static StoreManifest Of(StoreGeometry geometry) => new(
        StoreGeometry.FormatVersion, geometry.Layout, geometry.Fingerprint, geometry.SegmentBytes,
        geometry.PayloadBytes, geometry.LayerCount);

    /// <summary>Reads a folder's manifest.</summary>
    /// <returns>Null when there is none, or it is damaged.</returns>
    /// <exception cref="StoreException">It was written by a later version.</exception>
    /// <exception cref="IOException">The disk fails.</exception>
    public static StoreManifest? Read(string directory)
    {
        var path = Path.Combine(directory, FileName);
        if (!File.Exists(path) || new FileInfo(path).Length > FileBytesMax)
        {
            return null;
        }

        var text = File.ReadAllText(path);
        var end = text.LastIndexOf(ChecksumTitle, StringComparison.Ordinal);
        if (end < 0 || text[end..].Trim() != ChecksumLine(text[..end]) ||
            !text.StartsWith(Title, StringComparison.Ordinal))
        {
            return null;
        }

        var lines = text.Split('\n');
        if (!int.TryParse(lines[0].AsSpan(Title.Length), CultureInfo.InvariantCulture, out var version))
        {
            return null;
        }

        if (version > StoreGeometry.FormatVersion)
        {
            throw new StoreException(
                $"'{path}' says format version {version}; this program reads versions up to " +
                $"{StoreGeometry.FormatVersion}. Use a later program, or another folder.");
        }

        return Parse(version, lines);
    }

    public void Write(string directory, bool sync)
    {
        var text = string.Create(
            CultureInfo.InvariantCulture,
            $"{Title}{Version}\nlayout {Layout}\nfingerprint {Uri.EscapeDataString(Fingerprint)}\n" +
            $"segment {SegmentBytes}\npayload {PayloadBytes}\nlayers {LayerCount}\n");
        CheckedFile.Replace(Path.Combine(directory, FileName), $"{text}{ChecksumLine(text)}\n", sync);
    }

    private static StoreManifest? Parse(int version, string[] lines)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in lines)
        {
            if (line.IndexOf(' ', StringComparison.Ordinal) is > 0 and var space)
            {
                values[line[..space]] = line[(space + 1)..];
            }
        }

        return values.TryGetValue("layout", out var layout) &&
            values.TryGetValue("fingerprint", out var fingerprint) &&
            long.TryParse(values.GetValueOrDefault("segment"), CultureInfo.InvariantCulture, out var segment) &&
            int.TryParse(values.GetValueOrDefault("payload"), CultureInfo.InvariantCulture, out var payload) &&
            int.TryParse(values.GetValueOrDefault("layers"), CultureInfo.InvariantCulture, out var layers)
            ? new StoreManifest(version, layout, Uri.UnescapeDataString(fingerprint), segment, payload, layers)
            : null;
    }

    private static string ChecksumLine(string text)
    {
        var checksum = Crc32C.Finish(Crc32C.Append(Crc32C.Start, Encoding.UTF8.GetBytes(text)));
        return string.Create(CultureInfo.InvariantCulture, $"{ChecksumTitle}{checksum:x8}");
    }
}
