using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Two tenants of one server, each with an API key and a quota. The first comes back to its documents before and after
/// the second has written many times its quota; each then asks what the other has cached.
/// </summary>
internal sealed class TenantBench(TenantPlan plan, Terminal terminal)
{
    private const string First = "first";
    private const string Second = "second";
    private const string StoredBlocks = "mooncake_store_puts_total";
    private const string ComputedTokens = "mooncake_prefill_tokens_computed_total";
    private const string Namespace = "shared";
    private const int FactsPlanted = 4;
    private const int AnswerTokensMax = 8;
    private const int MarksPerPhase = 4;

    private static readonly TimeSpan SavePatience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan SavePoll = TimeSpan.FromMilliseconds(20);

    private readonly Dictionary<string, string> _keys = new[] { First, Second }.ToDictionary(
        tenant => tenant, tenant => $"{tenant}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16))}");

    private int DocumentBlockTokens => plan.DocumentTokens / plan.Layout.BlockTokens * plan.Layout.BlockTokens;

    /// <summary>What the server is started with besides model and store; writes the tenants file.</summary>
    /// <param name="tenantsFile">Where the file is written.</param>
    public IReadOnlyList<string> ServerArguments(string tenantsFile)
    {
        var tenants = _keys.Select(pair => new
        {
            tenant = pair.Key,
            api_key_sha256 = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(pair.Value))),
            namespaces = new[] { Namespace },
            store_quota_bytes = plan.QuotaBytes,
        });
        File.WriteAllText(tenantsFile, JsonSerializer.Serialize(new { tenants }));
        return
        [
            .. new (string Name, object Value)[]
            {
                ("tenants.file", tenantsFile), ("worker.kv_pool_bytes", plan.PoolBytes),
                ("store.disk_bytes", plan.DiskBytes), ("store.memory_bytes", plan.MemoryBytes),
                ("store.segment_bytes", 1 << 20),
            }.SelectMany(setting => new[]
            {
                "--set", string.Create(CultureInfo.InvariantCulture, $"{setting.Name}={setting.Value}"),
            }),
        ];
    }

    /// <param name="server">A server with <see cref="ServerArguments"/>.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    public async Task<TenantReport> RunAsync(Uri server, CancellationToken cancellationToken)
    {
        using var first = new CompletionClient(server, _keys[First]);
        using var second = new CompletionClient(server, _keys[Second]);
        var documents = Documents(0, plan.Documents);
        await ReadAsync(first, documents, fact: 0, "the first tenant stores", cancellationToken).ConfigureAwait(false);
        var before = await ReadAsync(first, documents, fact: 1, "comes back", cancellationToken).ConfigureAwait(false);
        var stored = await CountAsync(first, StoredBlocks, cancellationToken).ConfigureAwait(false);
        await ReadAsync(
            second, Documents(plan.Documents, plan.FloodDocuments), fact: 0, "the second tenant stores",
            cancellationToken).ConfigureAwait(false);
        var flood = (await CountAsync(first, StoredBlocks, cancellationToken).ConfigureAwait(false) - stored)
            * plan.Layout.BytesPerBlock;
        var after = await ReadAsync(first, documents, fact: 2, "comes back", cancellationToken).ConfigureAwait(false);
        return new TenantReport
        {
            Documents = plan.Documents,
            DocumentTokens = plan.DocumentTokens,
            Seed = plan.Seed,
            QuotaBytes = plan.QuotaBytes,
            StoreBytes = plan.DiskBytes,
            FloodBytes = flood,
            FloodOverQuota = (double)flood / plan.QuotaBytes,
            HitRateBefore = before,
            HitRateAfter = after,
            PointsLost = 100 * (before - after),
            Isolation = await ShareAsync(first, second, server, cancellationToken).ConfigureAwait(false),
            Savings =
            [
                await SavingsAsync(first, cancellationToken).ConfigureAwait(false),
                await SavingsAsync(second, cancellationToken).ConfigureAwait(false),
            ],
        };
    }

    /// <summary>The same prompt by both tenants, each on its own and in a shared namespace.</summary>
    private async Task<TenantIsolation> ShareAsync(
        CompletionClient first, CompletionClient second, Uri server, CancellationToken cancellationToken)
    {
        var document = Documents(plan.Documents + plan.FloodDocuments, 1)[0];
        await AskAsync(first, document, 0, cancellationToken).ConfigureAwait(false);
        await UntilSavedAsync(first, cancellationToken).ConfigureAwait(false);
        var own = await AskAsync(first, document, 0, cancellationToken).ConfigureAwait(false);
        var before = await CountAsync(first, ComputedTokens, cancellationToken).ConfigureAwait(false);
        var cross = await AskAsync(second, document, 0, cancellationToken).ConfigureAwait(false);
        var computed = await CountAsync(first, ComputedTokens, cancellationToken).ConfigureAwait(false) - before;

        using var firstShared = new CompletionClient(server, _keys[First], Namespace);
        using var secondShared = new CompletionClient(server, _keys[Second], Namespace);
        await AskAsync(firstShared, document, 0, cancellationToken).ConfigureAwait(false);
        var shared = await AskAsync(secondShared, document, 0, cancellationToken).ConfigureAwait(false);
        return new TenantIsolation
        {
            PromptTokens = cross.PromptTokens,
            CachedTokens = cross.CachedTokens,
            PrefillTokensComputed = computed,
            TtftS = cross.TtftS,
            OwnCachedTokens = own.CachedTokens,
            OwnTtftS = own.TtftS,
            SharedNamespaceCachedTokens = shared.CachedTokens,
        };
    }

    /// <summary>Asks about each document, and gives the share of their blocks that was cached.</summary>
    private async Task<double> ReadAsync(
        CompletionClient client, NeedleDocument[] documents, int fact, string what,
        CancellationToken cancellationToken)
    {
        long cached = 0;
        foreach (var (index, document) in documents.Index())
        {
            var result = await AskAsync(client, document, fact, cancellationToken).ConfigureAwait(false);
            cached += Math.Min(result.CachedTokens, DocumentBlockTokens);
            if ((index + 1) % Math.Max(1, documents.Length / MarksPerPhase) == 0)
            {
                terminal.Remark($"{what}: {index + 1} of {documents.Length} documents");
            }

            await UntilSavedAsync(client, cancellationToken).ConfigureAwait(false);
        }

        return (double)cached / ((long)documents.Length * DocumentBlockTokens);
    }

    private static Task<AskResult> AskAsync(
        CompletionClient client, NeedleDocument document, int fact, CancellationToken cancellationToken)
    {
        var question = document.Facts[fact].Question;
        var request = StreamRequest.About(document.Text, question) with { MaxTokens = AnswerTokensMax };
        return Asker.AskAsync(client, request, question, observe: null, cancellationToken);
    }

    /// <summary>Waits for the store, so that nothing depends on who is faster.</summary>
    private static async Task UntilSavedAsync(CompletionClient client, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(SavePatience);
        while (true)
        {
            var metrics = await client.MetricsAsync(limit.Token).ConfigureAwait(false);
            if (metrics.Get("mooncake_saves_pending_blocks") + metrics.Get("mooncake_saves_running_blocks")
                + metrics.Get("mooncake_requests_settling") == 0)
            {
                return;
            }

            await Task.Delay(SavePoll, limit.Token).ConfigureAwait(false);
        }
    }

    private static async Task<long> CountAsync(
        CompletionClient client, string metric, CancellationToken cancellationToken) =>
        (long)(await client.MetricsAsync(cancellationToken).ConfigureAwait(false)).Get(metric);

    private static async Task<TenantSavings> SavingsAsync(
        CompletionClient client, CancellationToken cancellationToken)
    {
        var savings = await client.SavingsAsync(cancellationToken).ConfigureAwait(false);
        return new TenantSavings(
            savings.GetProperty("tenant").GetString()!,
            savings.GetProperty("requests").GetInt64(),
            savings.GetProperty("prompt_tokens").GetInt64(),
            savings.GetProperty("cached_tokens").GetInt64(),
            savings.GetProperty("prefill_seconds_saved").GetDouble());
    }

    private NeedleDocument[] Documents(int first, int count) =>
    [
        .. Enumerable.Range(first, count).Select(number => NeedleDocument.Create(
            plan.DocumentTokens, FactsPlanted, unchecked((plan.Seed * 1_000_003) + number))),
    ];
}
