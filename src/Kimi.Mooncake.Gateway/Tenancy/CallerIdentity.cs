using System.Globalization;
using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Protocol;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>
/// Who makes a request, and which cached prefixes it may share: those of its tenant, or those of a shared namespace
/// that it chose. Found once for each request.
/// </summary>
/// <param name="Tenant">The tenant; empty where none is named.</param>
/// <param name="Namespace">The shared namespace; null for the tenant's own.</param>
internal sealed record CallerIdentity(string Tenant, string? Namespace)
{
    /// <summary>Longest <c>cache_salt</c> of a request, so that the salt made of it fits a worker's limit.</summary>
    public const int OwnSaltCharsMax = GenerationMessages.CacheSaltCharsMax - 256;

    /// <summary>The caller of a request that passed <see cref="CallerGate"/>.</summary>
    /// <exception cref="InvalidOperationException">It did not.</exception>
    public static CallerIdentity Of(HttpContext context) =>
        context.Features.Get<CallerIdentity>()
        ?? throw new InvalidOperationException($"nobody asked who makes the request {context.Request.Path}");

    /// <summary>
    /// The salt of the block keys. Different tenants, namespaces and own salts never give the same: each text says how
    /// long its name is. Without tenant, namespace and own salt it is empty.
    /// </summary>
    /// <param name="ownSalt">The <c>cache_salt</c> of the request; empty where it has none.</param>
    /// <exception cref="ApiException">The own salt is too long.</exception>
    public string SaltWith(string ownSalt)
    {
        if (ownSalt.Length > OwnSaltCharsMax)
        {
            throw ApiException.WrongValue(
                "cache_salt", $"expected at most {OwnSaltCharsMax} characters, but got {ownSalt.Length}");
        }

        return this switch
        {
            { Namespace: { } name } => Text("namespace", name, ownSalt),
            { Tenant.Length: > 0 } => Text("tenant", Tenant, ownSalt),
            _ => ownSalt.Length == 0 ? "" : $"own:{ownSalt}",
        };
    }

    /// <summary>The shared namespace of a salt that <see cref="SaltWith"/> made; null for any other.</summary>
    public static string? NamespaceOf(string salt)
    {
        const string Kind = "namespace:";
        if (!salt.StartsWith(Kind, StringComparison.Ordinal))
        {
            return null;
        }

        var colon = salt.IndexOf(':', Kind.Length);
        return colon > 0
            && int.TryParse(
                salt.AsSpan(Kind.Length..colon), NumberStyles.None, CultureInfo.InvariantCulture, out var length)
            && length <= salt.Length - colon - 1
                ? salt.Substring(colon + 1, length)
                : null;
    }

    private static string Text(string kind, string name, string ownSalt) =>
        string.Create(CultureInfo.InvariantCulture, $"{kind}:{name.Length}:{name}:{ownSalt}");
}
