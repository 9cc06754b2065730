using System.Globalization;
using Kimi.Mooncake.Cluster.Contexts;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>
/// One request's use of a context. Once the prompt is there, what the use changes is written, and the response can say
/// what was saved.
/// </summary>
/// <param name="catalog">Where the context is.</param>
/// <param name="context">The context.</param>
/// <param name="newExpiryUnixMs">Its expiry from now on; null leaves it as it is.</param>
/// <param name="dryRun">Whether only to say that it would be used.</param>
/// <param name="time">Clock.</param>
/// <param name="logger">Is told when the change cannot be written.</param>
internal sealed class UsedContext(
    IContextCatalog catalog, KeptContext context, long? newExpiryUnixMs, bool dryRun, TimeProvider time,
    ILogger logger)
{
    private readonly Lock _lock = new();
    private Task? _settled;
    private int _cachedTokens;
    private long _expiresUnixMs = context.ExpiresUnixMs;

    public bool DryRun => dryRun;

    /// <summary>Tokens of the context that were not computed again; null as long as that is not known.</summary>
    public int? TokensSaved { get; private set; }

    /// <summary>The prompt is complete, for the first choice that says so.</summary>
    /// <param name="cachedTokens">Its tokens that were not computed.</param>
    /// <param name="cancellationToken">The request ended; the change is written anyway.</param>
    public Task PrefilledAsync(int cachedTokens, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_settled is null)
            {
                _cachedTokens = cachedTokens;
                _settled = SettleAsync();
            }

            return _settled.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Says which context was used; what it saved only once that is known.</summary>
    public void WriteHeaders(IHeaderDictionary headers)
    {
        headers["Msh-Context-Cache-Id"] = context.Id;
        var expires = Volatile.Read(ref _expiresUnixMs);
        var seconds = Math.Max(0, (expires - time.GetUtcNow().ToUnixTimeMilliseconds() + 999) / 1000);
        headers["Msh-Context-Cache-Token-Ttl"] = seconds.ToString(CultureInfo.InvariantCulture);
        headers["Msh-Context-Cache-Token-Exp"] = (expires / 1000).ToString(CultureInfo.InvariantCulture);
        if (TokensSaved is { } saved)
        {
            headers["Msh-Context-Cache-Token-Saved"] = saved.ToString(CultureInfo.InvariantCulture);
        }
    }

    private async Task SettleAsync()
    {
        if (newExpiryUnixMs is not null || context.State.Status != ContextStatus.Ready)
        {
            try
            {
                var update = new ContextUpdate(ExpiresUnixMs: newExpiryUnixMs, State: ContextState.Ready);
                var updated = await catalog.UpdateAsync(context.Tenant, context.Id, update, CancellationToken.None);
                Volatile.Write(ref _expiresUnixMs, updated?.ExpiresUnixMs ?? context.ExpiresUnixMs);
            }
            catch (Exception fault)
            {
                // The answer is right all the same; its headers say the expiry that there is.
                GatewayLog.ContextNotUpdated(logger, context.Id, fault.Message);
            }
        }

        TokensSaved = Math.Min(_cachedTokens, context.Tokens);
    }
}
