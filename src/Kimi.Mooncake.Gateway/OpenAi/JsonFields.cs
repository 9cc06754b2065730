using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>
/// Typed access to an object's fields. A field that is null counts as absent; one of another type or outside its range
/// ends the request with an error that names it.
/// </summary>
/// <param name="element">An object.</param>
/// <param name="path">Where it is in the request, with a trailing dot; empty for the request itself.</param>
internal readonly struct JsonFields(JsonElement element, string path)
{
    /// <summary>The object itself.</summary>
    public JsonElement Element => element;

    /// <summary>Full name of a field in error messages.</summary>
    public string Name(string name) => path + name;

    public bool TryGet(string name, out JsonElement value) =>
        element.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;

    public float Number(string name, float min, float max, float absent) =>
        TryGet(name, out var value) ? NumberOf(value, Name(name), min, max) : absent;

    public int? Integer(string name, int min, int max) => (int?)Long(name, min, max);

    public long? Long(string name, long min, long max)
    {
        if (!TryGet(name, out var value))
        {
            return null;
        }

        if (value.ValueKind != JsonValueKind.Number || value.GetRawText().AsSpan().ContainsAny('.', 'e', 'E'))
        {
            throw ApiException.WrongType(Name(name), "an integer", Describe(value));
        }

        return value.TryGetInt64(out var number) && number >= min && number <= max
            ? number
            : throw ApiException.WrongValue(Name(name), $"expected {min} to {max}, but got {Describe(value)}");
    }

    public bool Boolean(string name) => TryGet(name, out var value) && value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw ApiException.WrongType(Name(name), "a boolean", Describe(value)),
    };

    public string? Text(string name) => TryGet(name, out var value) ? TextOf(value, Name(name)) : null;

    public JsonFields? Object(string name)
    {
        if (!TryGet(name, out var value))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Object
            ? new JsonFields(value, Name(name) + ".")
            : throw ApiException.WrongType(Name(name), "an object", Describe(value));
    }

    public bool TryGetArray(string name, [NotNullWhen(true)] out JsonElement? array)
    {
        array = null;
        if (!TryGet(name, out var value))
        {
            return false;
        }

        array = value.ValueKind == JsonValueKind.Array
            ? value
            : throw ApiException.WrongType(Name(name), "an array", Describe(value));
        return true;
    }

    public static float NumberOf(JsonElement value, string name, float min, float max)
    {
        if (value.ValueKind != JsonValueKind.Number)
        {
            throw ApiException.WrongType(name, "a number", Describe(value));
        }

        // Comparing this way round also refuses numbers too large for the type, which read as infinite.
        var number = value.GetDouble();
        return number >= min && number <= max
            ? (float)number
            : throw ApiException.WrongValue(name, $"expected {Range(min, max)}, but got {Describe(value)}");
    }

    public static string TextOf(JsonElement value, string name)
    {
        if (value.ValueKind != JsonValueKind.String)
        {
            throw ApiException.WrongType(name, "a string", Describe(value));
        }

        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException)
        {
            return Unescape(value.GetRawText());
        }
    }

    public static string Describe(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => $"the number {Shorten(value.GetRawText())}",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        _ => "null",
    };

    /// <summary>A least value of <see cref="float.Epsilon"/> stands for "above 0".</summary>
    private static string Range(float min, float max) => min == float.Epsilon
        ? string.Create(CultureInfo.InvariantCulture, $"above 0, up to {max}")
        : string.Create(CultureInfo.InvariantCulture, $"{min} to {max}");

    private static string Shorten(string text) => text.Length <= 40 ? text : text[..40] + "…";

    /// <summary>
    /// Reads a string whose escapes name half a surrogate pair, as JavaScript writes text that was cut inside a
    /// character; the reader of the framework refuses it. The half becomes U+FFFD when the text is encoded.
    /// </summary>
    private static string Unescape(string raw)
    {
        var text = new StringBuilder(raw.Length);
        for (var i = 1; i < raw.Length - 1; i++)
        {
            if (raw[i] != '\\')
            {
                text.Append(raw[i]);
                continue;
            }

            i++;
            if (raw[i] == 'u')
            {
                var unit = ushort.Parse(raw.AsSpan(i + 1, 4), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                text.Append((char)unit);
                i += 4;
                continue;
            }

            text.Append(raw[i] switch
            {
                'b' => '\b',
                'f' => '\f',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                var other => other,
            });
        }

        return text.ToString();
    }
}
