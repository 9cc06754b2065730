using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>
/// Finds out who makes a request of the API, before anything is done for it. Where tenants have keys the key says it;
/// otherwise a header does, which a proxy that is trusted sets. Only endpoints that say so are open to everybody; what
/// the path looks like decides nothing.
/// </summary>
/// <param name="tenants">The tenants and their keys; null where none are needed.</param>
internal sealed class CallerGate(TenantDirectory? tenants)
{
    /// <summary>Metadata of an endpoint that answers without asking who calls.</summary>
    public static object Open { get; } = new OpenEndpoint();

    public Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (context.GetEndpoint()?.Metadata.GetMetadata<OpenEndpoint>() is null)
        {
            context.Features.Set(Identify(context));
        }

        return next(context);
    }

    private CallerIdentity Identify(HttpContext context)
    {
        var headers = context.Request.Headers;
        var named = CallerHeaders.Name(headers, CallerHeaders.Tenant);
        var shared = CallerHeaders.Name(headers, CallerHeaders.Namespace);
        if (tenants is null)
        {
            return new CallerIdentity(named ?? "", shared);
        }

        var key = CallerHeaders.Key(headers);
        if (key is null || tenants.FindByHash(SHA256.HashData(Encoding.UTF8.GetBytes(key))) is not { } entry)
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";
            throw ApiException.WrongKey(key is not null);
        }

        if (named is not null && named != entry.Tenant)
        {
            throw ApiException.Forbidden(
                CallerHeaders.Tenant, "tenant_mismatch",
                $"The API key belongs to another tenant than {ApiException.Quote(named)}.");
        }

        if (shared is not null && !entry.Namespaces.Contains(shared))
        {
            throw ApiException.NamespaceClosed(CallerHeaders.Namespace, shared, entry.Tenant);
        }

        return new CallerIdentity(entry.Tenant, shared);
    }

    private sealed class OpenEndpoint;
}
