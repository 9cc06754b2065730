using System.CommandLine;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake config</c>: every setting, what it means, and the value in force.</summary>
internal static class ConfigCommand
{
    public static Command Create(Terminal terminal)
    {
        var settings = new SettingOptions();
        var json = JsonOption.Create();
        var command = new Command("config", "Prints every setting with its default, unit, range and meaning.") { json };
        settings.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            var resolved = settings.Resolve(parsed, Environment.GetEnvironmentVariables());
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(new { Settings = resolved.All.Select(Describe) });
            }
            else
            {
                terminal.WriteTable(Table(resolved));
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static object Describe(ResolvedSetting resolved) => new
    {
        resolved.Setting.Name,
        resolved.Setting.Meaning,
        resolved.Setting.Unit,
        resolved.Setting.Default,
        resolved.Value,
        resolved.Source,
        Min = Bound(resolved.Setting.Min),
        Max = Bound(resolved.Setting.Max),
        resolved.Setting.Accepted,
        EnvironmentVariable = resolved.Setting.EnvironmentName,
    };

    private static double? Bound(double value) => double.IsFinite(value) ? value : null;

    private static Table Table(ResolvedSettings settings)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("setting", "value", "default", "accepted", "from", "meaning");
        foreach (var resolved in settings.All)
        {
            table.AddRow(
                Markup.Escape(resolved.Setting.Name),
                Markup.Escape(resolved.Setting.Format(resolved.Value)),
                Markup.Escape(resolved.Setting.Format(resolved.Setting.Default)),
                Markup.Escape(resolved.Setting.Accepted),
                Markup.Escape(resolved.Source),
                Markup.Escape(resolved.Setting.Meaning));
        }

        return table;
    }
}
