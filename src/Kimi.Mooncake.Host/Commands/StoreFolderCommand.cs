using System.CommandLine;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>
/// What commands about stores on disk have in common: which stores, JSON or text, and how errors are told.
/// </summary>
internal sealed class StoreFolderCommand
{
    private readonly StoreFolderOptions _folder = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly Terminal _terminal;

    /// <param name="command">The command, with its own arguments and options.</param>
    /// <param name="terminal">Where it writes.</param>
    /// <param name="run">What it does.</param>
    public StoreFolderCommand(
        Command command, Terminal terminal, Func<StoreFolderCall, CancellationToken, Task> run)
    {
        _terminal = terminal;
        _folder.AddTo(command);
        command.Options.Add(_json);
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
            RunAsync(parsed, run, cancellationToken));
    }

    private async Task RunAsync(
        ParseResult parsed, Func<StoreFolderCall, CancellationToken, Task> run, CancellationToken cancellationToken)
    {
        var options = _folder.Read(parsed, Environment.GetEnvironmentVariables());
        try
        {
            var call = new StoreFolderCall(
                parsed, options, StoreFolderOptions.Find(options), parsed.GetValue(_json), _terminal);
            await run(call, cancellationToken).ConfigureAwait(false);
        }
        catch (StoreException fault)
        {
            throw new CommandException(fault.Message);
        }
    }
}

/// <summary>One call of a command about stores on disk.</summary>
/// <param name="Parsed">The command line.</param>
/// <param name="Options">Settings of the store.</param>
/// <param name="Folders">Folder of each store, at least one.</param>
/// <param name="AsJson">Whether the result is printed as JSON.</param>
/// <param name="Terminal">Where it is printed.</param>
internal sealed record StoreFolderCall(
    ParseResult Parsed, KvBlockStoreOptions Options, IReadOnlyList<string> Folders, bool AsJson, Terminal Terminal);
