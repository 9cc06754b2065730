using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What the benchmark is to do.</summary>
/// <param name="DocumentTokens">Tokens of the document; the question and the chat's control tokens come on top.</param>
/// <param name="Seed">Makes the document.</param>
/// <param name="Model">Model file.</param>
/// <param name="TokensPerBlock">Tokens of a KV block of the server.</param>
/// <param name="ServerArguments">What <c>serve</c> gets.</param>
internal sealed record LongDocumentPlan(
    int DocumentTokens, int Seed, string Model, int TokensPerBlock, IReadOnlyList<string> ServerArguments);

/// <summary>
/// The main job, measured: a long document is asked about cold, twice warm, and again after the server was killed and
/// started anew on the same store.
/// </summary>
internal sealed class LongDocumentBench(LongDocumentPlan plan, Terminal terminal)
{
    public const int TokensMin = NeedleDocument.BytesMin * 2;

    private const int FactsPlanted = 12;

    // Places of the facts asked about, in the order of the requests: cold, warm, warm, restart.
    private static readonly int[] AskedFacts = [1, 5, 10, 7];

    public async Task<LongDocumentReport> RunAsync(CancellationToken cancellationToken)
    {
        var document = NeedleDocument.Create(plan.DocumentTokens, FactsPlanted, plan.Seed);
        var facts = AskedFacts.Select(index => document.Facts[index]).ToArray();
        var shared = SharedPrefix.BlockTokens(
            plan.Model, facts.Select(fact => StreamRequest.About(document.Text, fact.Question)), plan.TokensPerBlock);
        var requests = new List<BenchRequest>();
        long peak = 0;

        var first = await ChildServer.StartAsync(plan.ServerArguments, cancellationToken).ConfigureAwait(false);
        await using (first.ConfigureAwait(false))
        {
            foreach (var (name, fact) in new[] { ("cold", facts[0]), ("warm", facts[1]), ("warm", facts[2]) })
            {
                requests.Add(await AskAsync(first, name, document, fact, cancellationToken).ConfigureAwait(false));
            }

            peak = Math.Max(peak, first.PeakResidentBytes());
            terminal.Remark($"kill -9 {first.ProcessId}, and a new server on the same store");
            await first.KillAsync().ConfigureAwait(false);
        }

        BenchRequest restart;
        var second = await ChildServer.StartAsync(plan.ServerArguments, cancellationToken).ConfigureAwait(false);
        await using (second.ConfigureAwait(false))
        {
            restart = await AskAsync(second, "restart", document, facts[3], cancellationToken).ConfigureAwait(false);
            peak = Math.Max(peak, second.PeakResidentBytes());
        }

        return Report(requests, restart, shared, peak);
    }

    private LongDocumentReport Report(
        List<BenchRequest> requests, BenchRequest restart, int shared, long peakRssBytes)
    {
        var cold = requests.Single(request => request.Name == "cold");
        var warm = requests.Where(request => request.Name == "warm").ToList();
        return new LongDocumentReport
        {
            DocumentTokens = plan.DocumentTokens,
            Seed = plan.Seed,
            Requests = requests,
            AnswersRight = requests.Count(request => request.IsRight),
            Restart = restart,
            SharedPrefixBlockTokens = shared,
            WarmHitsComplete = warm.All(request => request.CachedTokens >= shared),
            WarmOverCold = warm.Max(request => request.TtftS) / cold.TtftS,
            RestartCachedShare = shared == 0 ? 0 : (double)Math.Min(restart.CachedTokens, shared) / shared,
            PeakRssBytes = peakRssBytes,
            PrefillTokensPerS = cold.PrefillTokensComputed / cold.TtftS,
        };
    }

    private async Task<BenchRequest> AskAsync(
        ChildServer server, string name, NeedleDocument document, NeedleFact fact, CancellationToken cancellationToken)
    {
        var display = new PrefillDisplay(terminal);
        terminal.Remark($"{name}: {fact.Question}");
        var request = StreamRequest.About(document.Text, fact.Question) with { ReportsProgress = true };
        var result = await Asker.AskAsync(server.Client, request, fact.Question, Observe, cancellationToken)
            .ConfigureAwait(false);
        display.End();
        var asked = BenchRequest.Of(name, fact, result);
        terminal.Remark($"{name}: {(asked.IsRight ? "right" : $"wrong, expected {fact.Answer}")}: {result.Answer}");
        return asked;

        void Observe(StreamPart part)
        {
            if (part is PrefillPart progress)
            {
                display.Show(progress);
            }
        }
    }
}
