using System.Globalization;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Gateway.Tenancy;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>Reads the requests for contexts and tags.</summary>
/// <param name="options">Limits of times to live.</param>
/// <param name="time">Clock.</param>
internal sealed class ContextRequests(ContextCachingOptions options, TimeProvider time)
{
    private long NowUnixMs => time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>A new context, and its tags.</summary>
    /// <param name="fields">The request.</param>
    /// <param name="caller">Whose it will be.</param>
    /// <param name="servedModel">The model that there is.</param>
    /// <param name="countTokens">Tokens of the request's messages.</param>
    /// <exception cref="ApiException">A field is not as it must be.</exception>
    public (KeptContext Context, IReadOnlyList<string> Tags) ReadCreation(
        JsonFields fields, CallerIdentity caller, string servedModel, Func<JsonFields, int> countTokens)
    {
        var model = fields.Text("model") ?? throw ApiException.Missing("model");
        if (!ContextPrompts.IsModel(model, servedModel))
        {
            throw ApiException.ModelNotFound(model);
        }

        CallParser.RefuseUnsupported(fields);
        if (!fields.TryGetArray("messages", out var messages))
        {
            throw ApiException.Missing("messages");
        }

        var context = new KeptContext
        {
            Tenant = caller.Tenant,
            CacheSalt = caller.SaltWith(fields.Text("cache_salt") ?? ""),
            Model = model,
            Messages = JsonMarshal.GetRawUtf8Value(messages.Value).ToArray(),
            Tools = fields.TryGetArray("tools", out var tools)
                ? JsonMarshal.GetRawUtf8Value(tools.Value).ToArray()
                : default(ReadOnlyMemory<byte>),
            Name = Text(fields, "name", KeptContext.NameCharsMax),
            Description = Text(fields, "description", KeptContext.DescriptionCharsMax),
            Metadata = Metadata(fields),
            ExpiresUnixMs = Expiry(fields) ?? NowUnixMs + (1000L * options.TtlSecondsDefault),
            Tokens = countTokens(fields),
        };
        return (context, Tags(fields));
    }

    /// <summary>What is to change about a context.</summary>
    /// <exception cref="ApiException">A field is not as it must be.</exception>
    public ContextUpdate ReadUpdate(JsonFields fields)
    {
        var expires = Expiry(fields);
        return new ContextUpdate(Metadata(fields), expires, expires is null ? null : ContextState.Pending);
    }

    /// <summary>The tag that is to be set, and the id of its context.</summary>
    /// <exception cref="ApiException">A field is not as it must be.</exception>
    public static (string Tag, string Id) ReadTag(JsonFields fields)
    {
        var tag = fields.Text("tag") ?? throw ApiException.Missing("tag");
        return (CheckTag(tag, "tag"), fields.Text("cache_id") ?? throw ApiException.Missing("cache_id"));
    }

    /// <summary>The parameters of a list in the URL.</summary>
    /// <param name="query">All parameters.</param>
    /// <param name="boundCharsMax">Most characters of what the list's entries are called.</param>
    /// <exception cref="ApiException">One is not as it must be.</exception>
    public static ContextQuery ReadQuery(IQueryCollection query, int boundCharsMax)
    {
        const string Metadata = "metadata[";
        var limit = One(query, "limit");
        return new ContextQuery
        {
            Limit = limit is null ? new ContextQuery().Limit : Limit(limit),
            Ascending = One(query, "order") switch
            {
                null or "desc" => false,
                "asc" => true,
                var other => throw ApiException.WrongValue(
                    "order", $"expected 'asc' or 'desc', but got {ApiException.Quote(other)}"),
            },
            After = Short("after", One(query, "after") ?? "", boundCharsMax),
            Before = Short("before", One(query, "before") ?? "", boundCharsMax),
            Metadata = CheckMetadata(
            [
                .. query.Keys.Where(key => key.StartsWith(Metadata, StringComparison.Ordinal) && key.EndsWith(']'))
                    .Select(key => KeyValuePair.Create(key[Metadata.Length..^1], One(query, key)!)),
            ]),
        };
    }

    private static int Limit(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var limit)
        && limit is > 0 and <= ContextQuery.LimitMax
            ? limit
            : throw ApiException.WrongValue(
                "limit", $"expected 1 to {ContextQuery.LimitMax}, but got {ApiException.Quote(text)}");

    private static string? One(IQueryCollection query, string name) => query[name] switch
    {
        { Count: 0 } => null,
        { Count: 1 } values => values[0] ?? "",
        _ => throw ApiException.WrongValue(name, "expected the parameter once"),
    };

    private static string Text(JsonFields fields, string name, int charsMax) =>
        Short(name, fields.Text(name) ?? "", charsMax);

    private static string Short(string name, string text, int charsMax) => text.Length <= charsMax
        ? text
        : throw ApiException.WrongValue(name, $"expected at most {charsMax} characters, but got {text.Length}");

    private static List<KeyValuePair<string, string>>? Metadata(JsonFields fields)
    {
        if (fields.Object("metadata") is not { } given)
        {
            return null;
        }

        return CheckMetadata(
        [
            .. given.Element.EnumerateObject().Select(
                property => KeyValuePair.Create(property.Name, JsonFields.TextOf(property.Value, "metadata"))),
        ]);
    }

    private static List<KeyValuePair<string, string>> CheckMetadata(List<KeyValuePair<string, string>> metadata)
    {
        if (metadata.Exists(pair => pair.Key.Length > KeptContext.MetadataKeyCharsMax
            || pair.Value.Length > KeptContext.MetadataValueCharsMax))
        {
            throw ApiException.WrongValue(
                "metadata", $"a key has at most {KeptContext.MetadataKeyCharsMax} characters, a value at most " +
                $"{KeptContext.MetadataValueCharsMax}");
        }

        return metadata.Count <= KeptContext.MetadataMax
            ? metadata
            : throw ApiException.WrongValue("metadata", $"expected at most {KeptContext.MetadataMax} pairs");
    }

    private static List<string> Tags(JsonFields fields) => fields.TryGetArray("tags", out var tags)
        ? tags.Value.GetArrayLength() <= ContextTag.TagsMax
            ? [.. tags.Value.EnumerateArray().Select(tag => CheckTag(JsonFields.TextOf(tag, "tags"), "tags"))]
            : throw ApiException.WrongValue(
                "tags", $"expected at most {ContextTag.TagsMax} tags, but got {tags.Value.GetArrayLength()}")
        : [];

    private static string CheckTag(string tag, string field) => ContextTag.IsTag(tag)
        ? tag
        : throw ApiException.WrongValue(
            field,
            $"a tag has 1 to {ContextTag.CharsMax} characters: a letter, then letters, digits, '_', '-' and '.'; got " +
            ApiException.Quote(tag));

    /// <summary>When the context is to expire; null where the request does not say, which 0 means too.</summary>
    private long? Expiry(JsonFields fields)
    {
        var ttl = fields.Long("ttl", 0, options.TtlSecondsMax) is > 0 and var seconds ? seconds : (long?)null;
        var now = NowUnixMs;
        long? expires = null;
        foreach (var name in (string[])["expired_at", "expiredAt"])
        {
            if (fields.Long(name, 0, long.MaxValue) is not (> 0 and var at))
            {
                continue;
            }

            if (ttl is not null || expires is not null)
            {
                throw ApiException.WrongValue(name, "expected only one of 'ttl' and 'expired_at'");
            }

            expires = at > now / 1000 && at <= (now / 1000) + options.TtlSecondsMax
                ? 1000 * at
                : throw ApiException.WrongValue(
                    name,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"expected Unix seconds after now ({now / 1000}), at most {options.TtlSecondsMax} seconds " +
                        $"later, but got {at}"));
        }

        return ttl is null ? expires : now + (1000 * ttl);
    }
}
