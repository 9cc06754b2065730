using System.CommandLine;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The option <c>--json</c>, which every command has.</summary>
internal static class JsonOption
{
    public static Option<bool> Create() =>
        new("--json") { Description = "Print the result as one JSON object on standard output." };
}
