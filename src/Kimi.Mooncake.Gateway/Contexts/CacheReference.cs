using System.Globalization;
using System.Text.Json;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>Which context a request wants to use, and how.</summary>
/// <param name="Id">The context; null where it is named by a tag.</param>
/// <param name="Tag">The tag; null where it is named by its id.</param>
/// <param name="ResetTtlSeconds">How long it is kept from now on; null leaves it as it is.</param>
/// <param name="DryRun">Whether only to say if it would be used.</param>
/// <param name="Field">What to name when something is wrong with it.</param>
internal sealed record CacheReference(string? Id, string? Tag, int? ResetTtlSeconds, bool DryRun, string Field)
{
    /// <summary>Role of a message that stands for a context.</summary>
    public const string Role = "cache";

    public const string IdHeader = "X-Msh-Context-Cache";
    public const string ResetTtlHeader = "X-Msh-Context-Cache-Reset-TTL";
    public const string DryRunHeader = "X-Msh-Context-Cache-DryRun";

    /// <summary>What a message stands for; null for a message of another role.</summary>
    /// <exception cref="ApiException">It is of that role, and its content is not as it must be.</exception>
    public static CacheReference? TryRead(JsonElement message, string name)
    {
        if (message.ValueKind != JsonValueKind.Object || !message.TryGetProperty("role", out var role)
            || role.ValueKind != JsonValueKind.String || !role.ValueEquals(Role))
        {
            return null;
        }

        var fields = new JsonFields(message, name + ".");
        var field = fields.Name("content");
        var content = fields.Text("content") ?? throw ApiException.Missing(field);
        var reference = new CacheReference(null, null, null, DryRun: false, field);
        foreach (var option in content.Split(';'))
        {
            var equals = option.IndexOf('=', StringComparison.Ordinal);
            var value = option[(equals + 1)..].Trim();
            reference = option[..Math.Max(equals, 0)].Trim() switch
            {
                "cache_id" when value.Length > 0 => reference with { Id = value },
                "tag" when value.Length > 0 => reference with { Tag = value },
                "reset_ttl" => reference with { ResetTtlSeconds = Seconds(value, field) },
                "dry_run" => reference with { DryRun = Flag(value, field) },
                _ => throw ApiException.WrongValue(
                    field,
                    "expected cache_id=ID or tag=TAG, then reset_ttl=SECONDS or dry_run=1, with ';' between them, " +
                    $"but got {ApiException.Quote(option)}"),
            };
        }

        return (reference.Id is null) != (reference.Tag is null)
            ? reference
            : throw ApiException.WrongValue(field, "expected either cache_id or tag");
    }

    /// <summary>What the headers say; null where they name no context.</summary>
    /// <exception cref="ApiException">A header is not as it must be.</exception>
    public static CacheReference? Read(IHeaderDictionary headers)
    {
        var resetTtl = One(headers, ResetTtlHeader);
        var dryRun = One(headers, DryRunHeader);
        if (One(headers, IdHeader) is { } id)
        {
            return new CacheReference(
                id.Length is > 0 and <= KeptContext.IdCharsMax
                    ? id
                    : throw ApiException.WrongValue(IdHeader, "expected the id of a context"),
                Tag: null,
                resetTtl is null ? null : Seconds(resetTtl, ResetTtlHeader),
                dryRun is not null && Flag(dryRun, DryRunHeader),
                IdHeader);
        }

        return resetTtl is null && dryRun is null
            ? null
            : throw ApiException.WrongValue(
                resetTtl is null ? DryRunHeader : ResetTtlHeader, $"it is allowed only with {IdHeader}");
    }

    private static string? One(IHeaderDictionary headers, string name) => headers[name] switch
    {
        { Count: 0 } => null,
        { Count: 1 } values => values[0] ?? "",
        _ => throw ApiException.WrongValue(name, "expected the header once"),
    };

    private static int Seconds(string text, string field) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds > 0
            ? seconds
            : throw ApiException.WrongValue(
                field, $"a time to live is a whole number of seconds, at least 1, not {ApiException.Quote(text)}");

    private static bool Flag(string text, string field) => text switch
    {
        "1" => true,
        "0" => false,
        _ => throw ApiException.WrongValue(field, $"a dry run is 1 or 0, not {ApiException.Quote(text)}"),
    };
}
