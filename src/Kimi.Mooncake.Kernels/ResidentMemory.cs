using System.Globalization;

namespace Kimi.Mooncake.Kernels;

/// <summary>What the system counts as this process's memory.</summary>
/// <param name="TotalBytes">Resident bytes, pages of mapped files among them.</param>
/// <param name="AnonymousBytes">Resident bytes that no file backs: heap, stacks, and whatever else was copied.</param>
public sealed record ResidentMemory(long TotalBytes, long AnonymousBytes)
{
    private const string Rollup = "/proc/self/smaps_rollup";

    /// <summary>Reads it now; null where the system does not tell.</summary>
    public static ResidentMemory? Read()
    {
        if (!File.Exists(Rollup))
        {
            return null;
        }

        long total = 0, anonymous = 0;
        foreach (var line in File.ReadLines(Rollup))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            switch (colon < 0 ? "" : line[..colon])
            {
                case "Rss":
                    total = Bytes(line.AsSpan(colon + 1));
                    break;
                case "Anonymous":
                    anonymous = Bytes(line.AsSpan(colon + 1));
                    break;
                default:
                    break;
            }
        }

        return new ResidentMemory(total, anonymous);
    }

    private static long Bytes(ReadOnlySpan<char> value)
    {
        var text = value.Trim();
        return long.Parse(text[..text.IndexOf(' ')], CultureInfo.InvariantCulture) * 1024;
    }
}
