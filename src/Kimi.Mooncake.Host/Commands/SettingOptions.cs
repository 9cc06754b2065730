using System.Collections;
using System.CommandLine;
using Kimi.Mooncake.Host.Configuration;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>An option of its own for a setting that is given often.</summary>
/// <param name="Option">The option.</param>
/// <param name="Setting">Full name of the setting.</param>
/// <param name="Alone">What the option means without a value; null where it needs one.</param>
internal sealed record SettingShortcut(string Option, string Setting, string? Alone = null);

/// <summary>The options with which a command takes settings.</summary>
internal sealed class SettingOptions
{
    /// <summary>Options that stand for one setting each.</summary>
    public static IReadOnlyList<SettingShortcut> Shortcuts { get; } =
    [
        new("--model", "model.path"),
        new("--store-dir", "store.directory"),
        new("--address", "gateway.address"),
        new("--port", "gateway.port"),
        new("--threads", "worker.threads"),
        new("--role", "serve.role"),
        new("--conductor", "serve.conductor"),
        new("--node-id", "serve.node_id"),
        new("--rpc-port", "rpc.port"),
        new("--tls", "peer.tls"),
        new("--insecure", "peer.insecure", Alone: "true"),
    ];

    private readonly Option<FileInfo?> _file = new("--config")
    {
        Description = "JSON file with settings.",
        HelpName = "FILE",
    };

    private readonly Option<string[]> _set = new("--set")
    {
        Description = "One setting, section.name=value; see `mooncake config`. May be repeated.",
        HelpName = "SETTING=VALUE",
        DefaultValueFactory = _ => [],
    };

    private readonly List<(SettingShortcut Shortcut, Option<string?> Option)> _shortcuts =
    [
        .. Shortcuts.Select(shortcut => (shortcut, new Option<string?>(shortcut.Option)
        {
            Description = $"The setting {shortcut.Setting}.",
            Arity = shortcut.Alone is null ? ArgumentArity.ExactlyOne : ArgumentArity.ZeroOrOne,
        })),
    ];

    public void AddTo(Command command)
    {
        command.Options.Add(_file);
        command.Options.Add(_set);
        foreach (var (_, option) in _shortcuts)
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Reads all sources, the stronger ones last.</summary>
    /// <exception cref="SettingException">Something given is unknown or unacceptable.</exception>
    public ResolvedSettings Resolve(ParseResult parsed, IDictionary environment)
    {
        var file = parsed.GetValue(_file);
        var values = (file is null ? [] : SettingSources.FromFile(file.FullName))
            .Concat(SettingSources.FromEnvironment(environment))
            .Concat(SettingSources.FromArguments(parsed.GetValue(_set) ?? []))
            .Concat(from pair in _shortcuts
                    where parsed.GetResult(pair.Option) is { Implicit: false }
                    let text = parsed.GetValue(pair.Option) ?? pair.Shortcut.Alone
                    where text is not null
                    select new GivenValue(pair.Shortcut.Setting, text, pair.Shortcut.Option));
        return ResolvedSettings.Resolve(SettingSection.All, values);
    }
}
