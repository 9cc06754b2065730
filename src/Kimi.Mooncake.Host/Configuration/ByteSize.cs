using System.Globalization;

namespace Kimi.Mooncake.Host.Configuration;

/// <summary>Byte counts as people write them: <c>4096</c>, <c>64 KiB</c>, <c>1.5GiB</c>. Powers of 1024 only.</summary>
internal static class ByteSize
{
    private static readonly (string Suffix, int Shift)[] Units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

    public static bool TryParse(string text, out long bytes)
    {
        var number = text.Trim();
        var shift = 0;
        foreach (var unit in Units)
        {
            if (number.EndsWith(unit.Suffix, StringComparison.OrdinalIgnoreCase))
            {
                shift = unit.Shift;
                number = number[..^unit.Suffix.Length].TrimEnd();
                break;
            }
        }

        bytes = 0;
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            || value > long.MaxValue >> shift)
        {
            return false;
        }

        value *= 1L << shift;
        bytes = (long)value;
        return bytes == value;
    }

    /// <summary>The shortest exact text.</summary>
    public static string Format(long bytes)
    {
        foreach (var (suffix, shift) in Units)
        {
            if (bytes >= 1L << shift && bytes % (1L << shift) == 0)
            {
                return $"{(bytes >> shift).ToString(CultureInfo.InvariantCulture)}{suffix}";
            }
        }

        return bytes.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>A short text with one decimal, for people.</summary>
    public static string Approximate(double bytes)
    {
        foreach (var (suffix, shift) in Units)
        {
            if (bytes >= 1L << shift)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{bytes / (1L << shift):0.0} {suffix}");
            }
        }

        return string.Create(CultureInfo.InvariantCulture, $"{bytes:0} bytes");
    }
}
