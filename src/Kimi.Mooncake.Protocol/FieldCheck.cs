using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Protocol;

/// <summary>Checks of single fields of a message; each failure names the field and what is accepted.</summary>
public static class FieldCheck
{
    /// <summary>A number that is within its bounds.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <param name="min">Least accepted value.</param>
    /// <param name="max">Greatest accepted value.</param>
    /// <exception cref="InvalidDataException">It is out of them.</exception>
    public static int Count(uint value, string field, int min = 0, int max = int.MaxValue) =>
        value <= int.MaxValue && (int)value >= min && (int)value <= max
            ? (int)value
            : throw Fault(field, value.ToString(System.Globalization.CultureInfo.InvariantCulture),
                max == int.MaxValue ? $"at least {min}" : $"{min} to {max}");

    /// <summary>A large number that fits <see cref="long"/>.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <exception cref="InvalidDataException">It does not.</exception>
    public static long LargeCount(ulong value, string field) => value <= long.MaxValue
        ? (long)value
        : throw Fault(field, value.ToString(System.Globalization.CultureInfo.InvariantCulture),
            $"at most {long.MaxValue}");

    /// <summary>Token ids.</summary>
    /// <param name="values">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <exception cref="InvalidDataException">One is no token id.</exception>
    public static int[] Tokens(IReadOnlyList<uint> values, string field)
    {
        ArgumentNullException.ThrowIfNull(values);
        var tokens = new int[values.Count];
        for (var i = 0; i < tokens.Length; i++)
        {
            tokens[i] = values[i] <= int.MaxValue
                ? (int)values[i]
                : throw Fault($"{field}[{i}]", $"{values[i]}", "a token id");
        }

        return tokens;
    }

    /// <summary>A number that is within its bounds.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <param name="min">Least accepted value.</param>
    /// <param name="max">Greatest accepted value.</param>
    /// <exception cref="InvalidDataException">It is out of them, or not a number.</exception>
    public static float Number(float value, string field, float min, float max) =>
        value >= min && value <= max ? value : throw Fault(field, $"{value}", $"{min} to {max}");

    /// <summary>A measured quantity: finite, and at least 0.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <exception cref="InvalidDataException">It is not.</exception>
    public static double Measure(double value, string field) =>
        double.IsFinite(value) && value >= 0 ? value : throw Fault(field, $"{value}", "a finite number, at least 0");

    /// <summary>A number above 0 and up to its bound.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <param name="max">Greatest accepted value.</param>
    /// <exception cref="InvalidDataException">It is out of them, or not a number.</exception>
    public static float Share(float value, string field, float max) =>
        value > 0 && value <= max ? value : throw Fault(field, $"{value}", $"above 0, up to {max}");

    /// <summary>A text whose length is within its bounds.</summary>
    /// <param name="value">What was found.</param>
    /// <param name="field">Name of the field.</param>
    /// <param name="min">Fewest characters.</param>
    /// <param name="max">Most characters.</param>
    /// <exception cref="InvalidDataException">It is shorter or longer.</exception>
    public static string Text(string value, string field, int min, int max)
    {
        ArgumentNullException.ThrowIfNull(value);
        return value.Length >= min && value.Length <= max
            ? value
            : throw Fault(field, $"text of {value.Length} characters", $"{min} to {max} characters");
    }

    /// <summary>The name of a tenant, or none.</summary>
    /// <param name="value">What was found.</param>
    /// <exception cref="InvalidDataException">It is longer than stored blocks have room for.</exception>
    public static string Tenant(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        var bytes = Encoding.UTF8.GetByteCount(value);
        return bytes <= BlockAttributes.TenantBytesMax
            ? value
            : throw Fault("tenant", $"a name of {bytes} bytes", $"at most {BlockAttributes.TenantBytesMax} in UTF-8");
    }

    /// <summary>What is thrown for a field that is not as it must be.</summary>
    /// <param name="field">Name of the field.</param>
    /// <param name="found">What it is.</param>
    /// <param name="expected">What is accepted.</param>
    public static InvalidDataException Fault(string field, string found, string expected) =>
        new(FormattableString.Invariant($"field {field}: {found}; expected {expected}"));
}
