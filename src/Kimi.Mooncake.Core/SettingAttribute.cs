namespace Kimi.Mooncake.Core;

/// <summary>
/// Marks a property of an options record as a setting that an operator can give by file, environment or command line.
/// The configuration reference and the check at start are both made from these marks.
/// </summary>
/// <param name="meaning">One sentence that says what the setting does.</param>
[AttributeUsage(AttributeTargets.Property)]
public sealed class SettingAttribute(string meaning) : Attribute
{
    /// <summary>One sentence that says what the setting does.</summary>
    public string Meaning { get; } = meaning;

    /// <summary>Unit of the value, such as <c>bytes</c>, <c>ms</c> or <c>tokens</c>; empty where it has none.</summary>
    public string Unit { get; init; } = "";

    /// <summary>Least accepted value of a number.</summary>
    public double Min { get; init; } = double.NegativeInfinity;

    /// <summary>Greatest accepted value of a number.</summary>
    public double Max { get; init; } = double.PositiveInfinity;
}
