using System.Globalization;
using System.Reflection;
using System.Text.Json;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Host.Configuration;

/// <summary>One property of an options record that an operator can set.</summary>
internal sealed class Setting
{
    private readonly PropertyInfo _property;
    private readonly SettingAttribute _attribute;

    private Setting(string section, PropertyInfo property, SettingAttribute attribute, object? defaultValue)
    {
        _property = property;
        _attribute = attribute;
        Section = section;
        Name = $"{section}.{JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name)}";
        ValueType = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        Default = defaultValue;
    }

    public string Section { get; }

    /// <summary>Full name, <c>section.snake_case</c>.</summary>
    public string Name { get; }

    public Type ValueType { get; }

    public object? Default { get; }

    public string Meaning => _attribute.Meaning;

    public string Unit => _attribute.Unit;

    public double Min => _attribute.Min;

    public double Max => _attribute.Max;

    public bool IsBytes => Unit == "bytes";

    /// <summary>Name of the environment variable that sets it.</summary>
    public string EnvironmentName => $"MOONCAKE_{Name.Replace(".", "__", StringComparison.Ordinal).ToUpperInvariant()}";

    /// <summary>The settings of an options record, in the order in which it declares them.</summary>
    public static IReadOnlyList<Setting> Of(SettingSection section)
    {
        var defaults = section.CreateDefault();
        return
        [
            .. from property in section.OptionsType.GetProperties()
               let attribute = property.GetCustomAttribute<SettingAttribute>()
               where attribute is not null
               select new Setting(section.Name, property, attribute, property.GetValue(defaults)),
        ];
    }

    public void Assign(object options, object? value) => _property.SetValue(options, value);

    /// <summary>Reads a value and checks its range.</summary>
    /// <exception cref="SettingException">It is not acceptable.</exception>
    public object Parse(string text, string source)
    {
        var value = ValueType switch
        {
            _ when ValueType == typeof(string) => text,
            _ when ValueType == typeof(bool) => ParseSwitch(text),
            { IsEnum: true } => ParseEnum(text),
            _ => ParseNumber(text),
        };
        return value ?? throw new SettingException(
            $"setting {Name}: '{text}' from {source} is not acceptable; expected {Accepted}");
    }

    /// <summary>The accepted values in words.</summary>
    public string Accepted => ValueType switch
    {
        _ when ValueType == typeof(string) => "text",
        _ when ValueType == typeof(bool) => "true or false",
        { IsEnum: true } => (IsFlags ? "one or several, with commas, of " : "") + string.Join(", ", NamesAccepted),
        _ => $"{(IsWhole ? "a whole number" : "a number")}{Range}{(Unit.Length == 0 ? "" : $" {Unit}")}",
    };

    /// <summary>A value as it would be written in a file or on the command line.</summary>
    public string Format(object? value) => value switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        Enum names => string.Join(
            ',', names.ToString().Split(", ").Select(JsonNamingPolicy.SnakeCaseLower.ConvertName)),
        long or int when IsBytes => ByteSize.Format(Convert.ToInt64(value, CultureInfo.InvariantCulture)),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    private bool IsWhole => ValueType == typeof(int) || ValueType == typeof(long);

    private string Range => (double.IsFinite(Min), double.IsFinite(Max)) switch
    {
        (true, true) => $" from {Bound(Min)} to {Bound(Max)}",
        (true, false) => $" of at least {Bound(Min)}",
        (false, true) => $" of at most {Bound(Max)}",
        _ => "",
    };

    private string Bound(double bound) =>
        IsBytes ? ByteSize.Format((long)bound) : bound.ToString("0.############", CultureInfo.InvariantCulture);

    private static object? ParseSwitch(string text) => text.ToUpperInvariant() switch
    {
        "TRUE" or "1" or "ON" or "YES" => true,
        "FALSE" or "0" or "OFF" or "NO" => false,
        _ => null,
    };

    private bool IsFlags => ValueType.IsDefined(typeof(FlagsAttribute), inherit: false);

    // The value without any flag is no choice of an operator's.
    private IEnumerable<string> NamesAccepted =>
        from name in Enum.GetNames(ValueType)
        where !IsFlags || Convert.ToInt64(Enum.Parse(ValueType, name), CultureInfo.InvariantCulture) != 0
        select JsonNamingPolicy.SnakeCaseLower.ConvertName(name);

    // Enum.TryParse would also take numbers, and lists for any type.
    private object? ParseEnum(string text)
    {
        var sum = 0L;
        foreach (var word in IsFlags ? text.Split(',', StringSplitOptions.TrimEntries) : [text])
        {
            var name = Array.Find(Enum.GetNames(ValueType), name => string.Equals(
                name, word.Replace("_", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase));
            if (name is null)
            {
                return null;
            }

            sum |= Convert.ToInt64(Enum.Parse(ValueType, name), CultureInfo.InvariantCulture);
        }

        return IsFlags && sum == 0 ? null : Enum.ToObject(ValueType, sum);
    }

    private object? ParseNumber(string text)
    {
        if (IsWhole)
        {
            var isRead = IsBytes
                ? ByteSize.TryParse(text, out var whole)
                : long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out whole);
            return isRead && InRange(whole) ? Convert.ChangeType(whole, ValueType, CultureInfo.InvariantCulture) : null;
        }

        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            && double.IsFinite(number) && InRange(number)
                ? Convert.ChangeType(number, ValueType, CultureInfo.InvariantCulture) : null;
    }

    private bool InRange(double value) =>
        value >= Min && value <= Max && (ValueType != typeof(int) || value is >= int.MinValue and <= int.MaxValue);
}
