namespace Kimi.Mooncake.Protocol;

/// <summary>Checks of single fields of a message; each failure names the field and what is accepted.</summary>
internal static class FieldCheck
{
    public static int Count(uint value, string field, int min = 0, int max = int.MaxValue) =>
        value <= int.MaxValue && (int)value >= min && (int)value <= max
            ? (int)value
            : throw Fault(field, value.ToString(System.Globalization.CultureInfo.InvariantCulture),
                max == int.MaxValue ? $"at least {min}" : $"{min} to {max}");

    public static int[] Tokens(IReadOnlyList<uint> values, string field)
    {
        var tokens = new int[values.Count];
        for (var i = 0; i < tokens.Length; i++)
        {
            tokens[i] = values[i] <= int.MaxValue
                ? (int)values[i]
                : throw Fault($"{field}[{i}]", $"{values[i]}", "a token id");
        }

        return tokens;
    }

    public static float Number(float value, string field, float min, float max) =>
        value >= min && value <= max ? value : throw Fault(field, $"{value}", $"{min} to {max}");

    public static float Share(float value, string field, float max) =>
        value > 0 && value <= max ? value : throw Fault(field, $"{value}", $"above 0, up to {max}");

    public static string Text(string value, string field, int min, int max) =>
        value.Length >= min && value.Length <= max
            ? value
            : throw Fault(field, $"text of {value.Length} characters", $"{min} to {max} characters");

    public static InvalidDataException Fault(string field, string found, string expected) =>
        new(FormattableString.Invariant($"field {field}: {found}; expected {expected}"));
}
