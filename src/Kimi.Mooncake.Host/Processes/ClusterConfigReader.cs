using System.Text.Json;
using System.Text.RegularExpressions;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>Reads and checks a file of <c>cluster-config/</c>; every error names the file and the field.</summary>
internal sealed partial class ClusterConfigReader
{
    private const int ProcessesMax = 256;
    private const int PortMax = 1000;

    // What the cluster itself decides for each of its processes.
    private static readonly string[] Decided =
    [
        "serve.role", "serve.conductor", "serve.node_id", "serve.advertised_address", "serve.stop_at_end_of_input",
        "gateway.port", "rpc.port", "status.port", "model.path",
    ];

    private readonly string _file;

    private ClusterConfigReader(string file) => _file = file;

    /// <exception cref="SettingException">The file cannot be read, or does not describe a cluster.</exception>
    public static ClusterConfig Read(string file)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(file), SettingSources.FileOptions);
            return new ClusterConfigReader(file).Read(document.RootElement);
        }
        catch (JsonException fault)
        {
            throw new SettingException($"file {file}: {fault.Message}");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new SettingException($"cluster configuration cannot be read: {fault.Message}");
        }
    }

    private ClusterConfig Read(JsonElement root)
    {
        RequireFields(root, "the file", "settings", "processes");
        var common = Settings(root, "settings");
        if (!root.TryGetProperty("processes", out var entries) || entries.ValueKind != JsonValueKind.Array
            || entries.GetArrayLength() == 0)
        {
            throw Wrong("processes", "expected an array of at least one process");
        }

        var processes = new List<ProcessConfig>();
        var index = 0;
        foreach (var entry in entries.EnumerateArray())
        {
            AddProcesses(processes, entry, $"processes[{index++}]", common);
        }

        Check(processes);
        return new ClusterConfig(_file, processes);
    }

    private void AddProcesses(
        List<ProcessConfig> processes, JsonElement entry, string field, IReadOnlyList<GivenValue> common)
    {
        RequireFields(entry, field, "name", "role", "port", "count", "settings");
        var name = Text(entry, "name", field);
        if (!NamePattern().IsMatch(name))
        {
            throw Wrong($"{field}.name", $"'{name}'; expected 1 to 64 small letters, digits and hyphens");
        }

        var count = Number(entry, "count", field, 1, ProcessesMax) ?? 1;
        var port = Number(entry, "port", field, 0, PortMax);
        IReadOnlyList<GivenValue> settings = [.. common, .. Settings(entry, "settings", field)];
        var roles = Roles(Text(entry, "role", field), $"{field}.role");
        CheckSettings(settings);
        for (var number = 1; number <= count; number++)
        {
            // Each process has two ports.
            var place = port is { } first ? first + ((number - 1) * 2) : NextPort(processes);
            processes.Add(new ProcessConfig(count == 1 ? name : $"{name}-{number}", roles, place, settings));
        }
    }

    private static int NextPort(List<ProcessConfig> processes) =>
        processes.Count == 0 ? 0 : processes.Max(process => process.Port) + 2;

    private void Check(List<ProcessConfig> processes)
    {
        if (processes.Count > ProcessesMax)
        {
            throw Wrong("processes", $"{processes.Count} in all; expected at most {ProcessesMax}");
        }

        foreach (var same in processes.GroupBy(process => process.Name).Where(group => group.Count() > 1))
        {
            throw Wrong("processes", $"{same.Count()} have the name {same.Key}; expected names of their own");
        }

        var ordered = processes.OrderBy(process => process.Port).ToList();
        var next = ordered.Skip(1);
        foreach (var (left, right) in ordered.Zip(next).Where(pair => pair.Second.Port < pair.First.Port + 2))
        {
            throw Wrong(
                "processes",
                $"ports {left.Port} of {left.Name} and {right.Port} of {right.Name}: each process takes two");
        }

        if (processes.Any(process => process.Roles == ServeRoles.All) && processes.Count > 1)
        {
            throw Wrong("processes", "role all is a cluster by itself; expected no other process beside it");
        }

        var gateways = processes.Count(process => process.IsGateway);
        var conductors = processes.Count(process => process.Roles.HasFlag(ServeRoles.Conductor));
        if (gateways == 0)
        {
            throw Wrong("processes", "none has the role gateway; expected one that clients can ask");
        }

        if (conductors > 1 || (conductors == 0 && gateways > 1))
        {
            throw Wrong("processes", "expected one conductor: a process of that role, or else a single gateway");
        }
    }

    private ServeRoles Roles(string text, string field)
    {
        var roles = (ServeRoles)ServeOptions.RoleSetting.Parse(text, $"{field} in file {_file}");
        return ServeOptions.Contradiction(roles) is { } contradiction ? throw Wrong(field, contradiction) : roles;
    }

    private static void CheckSettings(IReadOnlyList<GivenValue> settings)
    {
        foreach (var given in settings.Where(given => Decided.Contains(given.Name)))
        {
            throw new SettingException($"setting {given.Name} from {given.Source}: the cluster decides it itself");
        }

        _ = ResolvedSettings.Resolve(SettingSection.All, settings);
    }

    private IReadOnlyList<GivenValue> Settings(JsonElement element, string name, string? owner = null)
    {
        if (!element.TryGetProperty(name, out var settings))
        {
            return [];
        }

        var field = owner is null ? name : $"{owner}.{name}";
        return settings.ValueKind == JsonValueKind.Object
            ? SettingSources.FromObject(settings, $"{field} in file {_file}")
            : throw Wrong(field, "expected an object of settings");
    }

    private string Text(JsonElement element, string name, string field) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw Wrong($"{field}.{name}", "expected text");

    private int? Number(JsonElement element, string name, string field, int min, int max)
    {
        if (!element.TryGetProperty(name, out var value))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number)
            && number >= min && number <= max
                ? number
                : throw Wrong($"{field}.{name}", $"{value.GetRawText()}; expected a whole number from {min} to {max}");
    }

    private void RequireFields(JsonElement element, string what, params string[] names)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Wrong(what, $"expected an object with {string.Join(", ", names)}");
        }

        foreach (var member in element.EnumerateObject().Where(member => !names.Contains(member.Name)))
        {
            throw Wrong($"{what}.{member.Name}", $"unknown; expected {string.Join(", ", names)}");
        }
    }

    private SettingException Wrong(string field, string reason) => new($"file {_file}, {field}: {reason}");

    [GeneratedRegex("^[a-z0-9-]{1,64}$")]
    private static partial Regex NamePattern();
}
