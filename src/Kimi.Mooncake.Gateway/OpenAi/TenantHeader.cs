using Kimi.Mooncake.Protocol;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>For whom a request is made, as a proxy before the gateway says; tenants share workers fairly.</summary>
internal static class TenantHeader
{
    public const string Name = "x-tenant-id";

    /// <summary>The tenant; empty where the request names none.</summary>
    /// <exception cref="ApiException">The header is there more than once, or is no name.</exception>
    public static string Read(IHeaderDictionary headers)
    {
        var values = headers[Name];
        if (values.Count == 0)
        {
            return "";
        }

        var tenant = values.Count == 1 ? values[0] : null;
        return tenant?.Length is > 0 and <= GenerationMessages.TenantCharsMax && tenant.All(IsNameChar)
            ? tenant
            : throw ApiException.WrongValue(
                Name,
                $"expected one header of 1 to {GenerationMessages.TenantCharsMax} letters, digits and -_.:@/, but " +
                $"got {ApiException.Quote(values.ToString())}");
    }

    private static bool IsNameChar(char c) => char.IsAsciiLetterOrDigit(c) || "-_.:@/".Contains(c);
}
