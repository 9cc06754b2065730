using Kimi.Mooncake.Gateway.OpenAi;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>
/// The accounts of all tenants since the start. The first so many have their own; who comes later adds to a common one,
/// so that names that nobody checks cannot fill the memory. Any thread may call.
/// </summary>
/// <param name="options">How many tenants have an account, and how many of those are on the metrics page.</param>
/// <param name="time">The clock.</param>
internal sealed class SavingsLedger(GatewayOptions options, TimeProvider time)
{
    // Neither is a name that a tenant can have.
    private const string NoTenant = "(none)";
    private const string OtherTenants = "(other)";

    private static readonly (string Name, string Help, Func<SavingsAccount, double> Value)[] Figures =
    [
        ("tenant_requests_total", "Completion requests answered, by tenant.", account => account.Requests),
        ("tenant_prompt_tokens_total", "Prompt tokens of these requests.", account => account.PromptTokens),
        ("tenant_cached_tokens_total", "Of these, tokens whose prefill was skipped.", account => account.CachedTokens),
        ("tenant_completion_tokens_total", "Tokens generated.", account => account.CompletionTokens),
        (
            "tenant_prefill_seconds_saved_total", "What the skipped prefill would have taken.",
            account => account.PrefillSecondsSaved),
    ];

    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _places = new(StringComparer.Ordinal);
    private readonly List<(string Tenant, SavingsAccount Account)> _accounts = [];
    private SavingsAccount _others;

    /// <summary>When the accounts were opened.</summary>
    public long SinceUnixSeconds { get; } = time.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>A request of a tenant was answered.</summary>
    public void Add(string tenant, TokenUsage usage)
    {
        var added = new SavingsAccount(1, usage.Prompt, usage.Cached, usage.Completion, usage.PrefillSecondsSaved);
        lock (_gate)
        {
            if (_places.TryGetValue(tenant, out var place))
            {
                _accounts[place] = (tenant, _accounts[place].Account + added);
            }
            else if (_accounts.Count < options.TenantsAccountedMax)
            {
                _places.Add(tenant, _accounts.Count);
                _accounts.Add((tenant, added));
            }
            else
            {
                _others += added;
            }
        }
    }

    /// <summary>A tenant's account; null where it has none of its own because there are too many.</summary>
    public SavingsAccount? Of(string tenant)
    {
        lock (_gate)
        {
            if (_places.TryGetValue(tenant, out var place))
            {
                return _accounts[place].Account;
            }

            return _accounts.Count < options.TenantsAccountedMax ? default(SavingsAccount) : null;
        }
    }

    /// <summary>The sums of all tenants, and the figures of each as far as the page has room for them.</summary>
    public void AddTo(MetricsPage page)
    {
        (string Tenant, SavingsAccount Account)[] shown;
        SavingsAccount rest;
        lock (_gate)
        {
            // Always the same ones, so that no counter ever falls.
            shown = [.. _accounts.Take(options.TenantsInMetricsMax)];
            rest = _accounts.Skip(shown.Length).Aggregate(_others, static (sum, entry) => sum + entry.Account);
        }

        AddSums(page, shown.Aggregate(rest, static (sum, entry) => sum + entry.Account));
        foreach (var (name, help, value) in Figures)
        {
            foreach (var (tenant, account) in shown)
            {
                page.Add(name, true, help, value(account), Label(tenant.Length == 0 ? NoTenant : tenant));
            }

            if (rest.Requests > 0)
            {
                page.Add(name, true, help, value(rest), Label(OtherTenants));
            }
        }
    }

    private static void AddSums(MetricsPage page, SavingsAccount all)
    {
        page.Add("gateway_prompt_tokens_total", true, "Prompt tokens of finished requests.", all.PromptTokens);
        page.Add("gateway_cached_tokens_total", true, "Prompt tokens whose prefill was skipped.", all.CachedTokens);
        page.Add("gateway_completion_tokens_total", true, "Tokens generated.", all.CompletionTokens);
        page.Add(
            "gateway_prefill_seconds_saved_total", true,
            "What the skipped prefill would have taken, by what the workers measured.", all.PrefillSecondsSaved);
    }

    private static string Label(string tenant) => $"tenant=\"{tenant}\"";
}
