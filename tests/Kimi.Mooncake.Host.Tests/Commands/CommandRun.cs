using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Tests.Commands;

/// <summary>What a command line did.</summary>
internal sealed record CommandRun(int Code, string Output, string Error)
{
    public static Task<CommandRun> OfAsync(params string[] arguments) => OfAsync(input: "", arguments);

    public static async Task<CommandRun> OfAsync(string input, string[] arguments)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        var terminal = new Terminal(output, error, isInteractive: false) { Input = new StringReader(input) };
        var code = await MooncakeCommand.RunAsync(arguments, terminal, CancellationToken.None);
        return new CommandRun(code, output.ToString(), error.ToString());
    }
}
