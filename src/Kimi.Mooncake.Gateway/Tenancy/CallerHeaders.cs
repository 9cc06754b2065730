using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Protocol;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>What the headers of a request say of its caller.</summary>
internal static class CallerHeaders
{
    /// <summary>For whom a request is made, as a proxy before the gateway says; tenants share workers fairly.</summary>
    public const string Tenant = "x-tenant-id";

    /// <summary>A shared namespace of cached prefixes, in place of the tenant's own.</summary>
    public const string Namespace = "x-cache-namespace";

    private const string ApiKey = "x-api-key";
    private const string BearerScheme = "Bearer ";

    // Longer than any key in use; what is longer need not be hashed to be wrong.
    private const int KeyCharsMax = 1024;

    /// <summary>A name in a header; null where the request has none.</summary>
    /// <exception cref="ApiException">The header is there more than once, or is no name.</exception>
    public static string? Name(IHeaderDictionary headers, string header)
    {
        var values = headers[header];
        if (values.Count == 0)
        {
            return null;
        }

        var name = values.Count == 1 ? values[0] : null;
        return name is not null && IsName(name)
            ? name
            : throw ApiException.WrongValue(
                header, $"expected one header of {NameRule}, but got {ApiException.Quote(values.ToString())}");
    }

    /// <summary>What a name of a tenant or a namespace is, in words.</summary>
    public static string NameRule => $"1 to {GenerationMessages.TenantCharsMax} letters, digits and -_.:@/";

    /// <summary>Whether a text may name a tenant or a namespace.</summary>
    public static bool IsName(string text) =>
        text.Length is > 0 and <= GenerationMessages.TenantCharsMax
        && text.All(c => char.IsAsciiLetterOrDigit(c) || "-_.:@/".Contains(c, StringComparison.Ordinal));

    /// <summary>
    /// The API key, from <c>Authorization: Bearer</c> or <c>x-api-key</c>; null where there is none, or two that
    /// differ, or what cannot be one.
    /// </summary>
    public static string? Key(IHeaderDictionary headers)
    {
        var (bearer, plain) = (headers.Authorization, headers[ApiKey]);
        if (bearer.Count > 1 || plain.Count > 1)
        {
            return null;
        }

        var text = bearer.ToString();
        var fromBearer = text.StartsWith(BearerScheme, StringComparison.OrdinalIgnoreCase)
            ? text[BearerScheme.Length..].Trim()
            : "";
        var fromPlain = plain.ToString();
        var key = fromBearer.Length > 0 ? fromBearer : fromPlain;
        return key.Length is > 0 and <= KeyCharsMax && (fromPlain.Length == 0 || fromPlain == key) ? key : null;
    }
}
