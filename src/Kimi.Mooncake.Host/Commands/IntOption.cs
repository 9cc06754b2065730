using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>A whole number on the command line, with a range.</summary>
internal sealed class IntOption
{
    private readonly int _min;
    private readonly int _max;

    public IntOption(string name, string description, int defaultValue, int min, int max)
    {
        _min = min;
        _max = max;
        Option = new Option<int>(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => defaultValue,
        };
    }

    public Option<int> Option { get; }

    /// <exception cref="CommandException">It is out of range.</exception>
    public int Read(ParseResult parsed)
    {
        var value = parsed.GetValue(Option);
        return value >= _min && value <= _max
            ? value
            : throw new CommandException($"{Option.Name} {value}: expected {_min} to {_max}", ExitCode.Usage);
    }
}
