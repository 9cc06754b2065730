using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>Whole numbers on the command line with commas between, or <c>none</c>.</summary>
internal sealed class IntListOption
{
    private const string None = "none";

    private readonly int _min;
    private readonly int _max;

    public IntListOption(string name, string description, IReadOnlyList<int> defaultValues, int min, int max)
    {
        _min = min;
        _max = max;
        var text = string.Join(',', defaultValues.Select(value => value.ToString(CultureInfo.InvariantCulture)));
        Option = new Option<string>(name)
        {
            Description = description,
            HelpName = "N,N,...",
            DefaultValueFactory = _ => text,
        };
    }

    public Option<string> Option { get; }

    /// <exception cref="CommandException">It is no such list, or a number is out of range.</exception>
    public IReadOnlyList<int> Read(ParseResult parsed)
    {
        var text = parsed.GetValue(Option)!;
        return text == None ? [] : [.. text.Split(',').Select(part => Number(text, part))];
    }

    private int Number(string text, string part) =>
        int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
        && value >= _min && value <= _max
            ? value
            : throw new CommandException(
                $"{Option.Name} {text}: expected numbers from {_min} to {_max} with commas between, or {None}",
                ExitCode.Usage);
}
