using System.CommandLine;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>What the benchmarks give to the servers that they start: settings, a model, a store of their own.</summary>
internal sealed class BenchServerOptions
{
    private readonly SettingOptions _settings = new();

    public void AddTo(Command command) => _settings.AddTo(command);

    /// <summary>Settles everything; the built-in model is written to the folder where no other is given.</summary>
    public BenchServer Prepare(ParseResult parsed, TemporaryFolder folder)
    {
        var settings = _settings.Resolve(parsed, Environment.GetEnvironmentVariables());
        var model = settings.Bind<ModelOptions>().Path;
        if (model.Length == 0)
        {
            model = folder.Model;
            NeedleModel.Write(model);
        }

        // The last one given wins, so what the benchmark itself decides stands at the end.
        string[] own = ["--set", "logging.level=warning", "--model", model, "--store-dir", folder.Store];
        return new BenchServer(model, settings.Bind<WorkerOptions>().BlockTokens, [.. Forwarded(settings), .. own]);
    }

    private static IEnumerable<string> Forwarded(ResolvedSettings settings) =>
        settings.All
            .Where(resolved => resolved.Source != ResolvedSettings.DefaultSource)
            .SelectMany(resolved =>
                new[] { "--set", $"{resolved.Setting.Name}={resolved.Setting.Format(resolved.Value)}" });
}

/// <summary>A server for a benchmark.</summary>
/// <param name="Model">Its model file.</param>
/// <param name="TokensPerBlock">Tokens of its KV blocks.</param>
/// <param name="Arguments">What <c>serve</c> gets.</param>
internal sealed record BenchServer(string Model, int TokensPerBlock, IReadOnlyList<string> Arguments);
