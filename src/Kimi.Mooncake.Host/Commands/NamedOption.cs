using System.CommandLine;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>One of a few named values on the command line; the first is the default.</summary>
internal sealed class NamedOption<T>
{
    private readonly Dictionary<string, T> _values;

    public NamedOption(string name, string description, params (string Name, T Value)[] values)
    {
        _values = values.ToDictionary(value => value.Name, value => value.Value);
        Option = new Option<string>(name)
        {
            Description = description,
            DefaultValueFactory = _ => values[0].Name,
        };
        Option.AcceptOnlyFromAmong([.. values.Select(value => value.Name)]);
    }

    public Option<string> Option { get; }

    public T Read(ParseResult parsed) => _values[parsed.GetValue(Option)!];
}
