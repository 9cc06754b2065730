using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench tenants</c>: what one tenant can take from another.</summary>
internal sealed class BenchTenantsCommand
{
    private readonly Terminal _terminal;
    private readonly BenchServerOptions _server = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly IntOption _documents = new("--documents", "Documents of the tenant that comes back.", 8, 1, 1000);

    private readonly IntOption _tokens = new(
        "--document-tokens", "Tokens of each document.", 2048, NeedleDocument.BytesMin, 1_000_000);

    private readonly IntOption _times = new("--times", "Times its quota that the other tenant writes.", 10, 1, 1000);
    private readonly IntOption _seed = new("--seed", "Makes the documents.", 1, 0, int.MaxValue);

    private BenchTenantsCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchTenantsCommand(terminal);
        var command = new Command(
            "tenants", "Has one tenant write many times its store quota, and sees what another loses by it.")
        {
            bench._json,
        };
        foreach (var option in new[] { bench._documents, bench._tokens, bench._times, bench._seed })
        {
            command.Options.Add(option.Option);
        }

        bench._server.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        using var folder = new TemporaryFolder();
        var server = _server.Prepare(parsed, folder);
        var plan = new TenantPlan
        {
            Documents = _documents.Read(parsed),
            DocumentTokens = _tokens.Read(parsed),
            Times = _times.Read(parsed),
            Seed = _seed.Read(parsed),
            Layout = LayoutOf(server),
        };
        var bench = new TenantBench(plan, _terminal);
        var child = await ChildServer.StartAsync(
            [.. server.Arguments, .. bench.ServerArguments(folder.Tenants)], cancellationToken).ConfigureAwait(false);
        TenantReport report;
        await using (child.ConfigureAwait(false))
        {
            report = await bench.RunAsync(child.Client.Address, cancellationToken).ConfigureAwait(false);
        }

        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            Print(report);
        }

        if (!report.IsGood)
        {
            throw new CommandException("one tenant took from another, or saw what it had cached");
        }
    }

    private static KvLayout LayoutOf(BenchServer server)
    {
        using var model = LoadedModel.Open(new ModelOptions { Path = server.Model });
        return KimiWorker.LayoutOf(model, new WorkerOptions { BlockTokens = server.TokensPerBlock });
    }

    private void Print(TenantReport report)
    {
        var isolation = report.Isolation;
        var (quota, store) = (ByteSize.Approximate(report.QuotaBytes), ByteSize.Approximate(report.StoreBytes));
        var flood = ByteSize.Approximate(report.FloodBytes);
        _terminal.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"""
            quota of each tenant {quota}, store {store}
            the second tenant wrote {flood}, {report.FloodOverQuota:0.0} times its quota
            hit rate of the first {report.HitRateBefore:P1} before, {report.HitRateAfter:P1} afterwards
            the same prompt of {isolation.PromptTokens} tokens by
              the tenant that has it cached: {isolation.OwnCachedTokens} cached, TTFT {isolation.OwnTtftS:0.000} s
              the other: {isolation.CachedTokens} cached, TTFT {isolation.TtftS:0.000} s
              the other in a shared namespace: {isolation.SharedNamespaceCachedTokens} cached
            """));
        foreach (var savings in report.Savings)
        {
            _terminal.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{savings.Tenant}: {savings.Requests} requests, {savings.CachedTokens:N0} of " +
                $"{savings.PromptTokens:N0} tokens cached, {savings.PrefillSecondsSaved:0.00} s of prefill saved"));
        }
    }
}
