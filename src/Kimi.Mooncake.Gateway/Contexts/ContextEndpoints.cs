using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Gateway.Tenancy;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>The endpoints for contexts and their tags.</summary>
internal sealed class ContextEndpoints
{
    /// <summary>Why there are none, where there is no catalog.</summary>
    public const string OffMessage = "neither contexts.directory nor store.directory is set";

    private const string Contexts = "/v1/caching";
    private const string Tags = Contexts + "/refs/tags";

    private readonly GatewayOptions _options;
    private readonly GatewayParts _parts;
    private readonly ContextPrompts _prompts;
    private readonly ContextPrefill? _prefill;
    private readonly ContextRequests _requests;

    private ContextEndpoints(
        GatewayOptions options, GatewayParts parts, ContextPrompts prompts, ContextPrefill? prefill)
    {
        _options = options;
        _parts = parts;
        _prompts = prompts;
        _prefill = prefill;
        _requests = new ContextRequests(parts.Caching, parts.Time);
    }

    private IContextCatalog Catalog => _parts.Contexts ?? throw new ContextsOffException(OffMessage);

    public static void Map(
        IEndpointRouteBuilder routes, GatewayOptions options, GatewayParts parts, ContextPrompts prompts,
        ContextPrefill? prefill)
    {
        var endpoints = new ContextEndpoints(options, parts, prompts, prefill);
        routes.MapPost(Contexts, endpoints.CreateAsync);
        routes.MapGet(Contexts, endpoints.ListAsync);
        routes.MapGet(Contexts + "/{id}", endpoints.GetAsync);
        routes.MapPut(Contexts + "/{id}", endpoints.UpdateAsync);
        routes.MapDelete(Contexts + "/{id}", endpoints.DeleteAsync);
        routes.MapPost(Tags, endpoints.SetTagAsync);
        routes.MapGet(Tags, endpoints.ListTagsAsync);
        routes.MapGet(Tags + "/{tag}", endpoints.GetTagAsync);
        routes.MapGet(Tags + "/{tag}/content", endpoints.GetTagContentAsync);
        routes.MapDelete(Tags + "/{tag}", endpoints.DeleteTagAsync);
    }

    private static string TenantOf(HttpContext context) => CallerIdentity.Of(context).Tenant;

    private static string RouteValue(HttpContext context, string name) =>
        context.Request.RouteValues[name] as string ?? "";

    private static ApiException NoContext(string id) => ContextUse.NotFound("id", $"context {ApiException.Quote(id)}");

    private static ApiException NoTag(string tag) => ContextUse.NotFound("tag", $"tag {ApiException.Quote(tag)}");

    private async Task CreateAsync(HttpContext context)
    {
        var catalog = Catalog;
        var caller = CallerIdentity.Of(context);
        var (wanted, tags) = await ReadAsync(context, fields => _requests.ReadCreation(
            fields, caller, _parts.Generator.Model.ModelId, _prompts.CountTokens));
        var created = await catalog.CreateAsync(wanted, tags, context.RequestAborted);
        await SendAsync(context, await PrefilledAsync(created, context.RequestAborted));
    }

    private async Task UpdateAsync(HttpContext context)
    {
        var catalog = Catalog;
        var (tenant, id) = (TenantOf(context), RouteValue(context, "id"));
        var update = await ReadAsync(context, _requests.ReadUpdate);
        var updated = await catalog.UpdateAsync(tenant, id, update, context.RequestAborted) ?? throw NoContext(id);

        // Its blocks are to be kept as long as it is now.
        await SendAsync(
            context, update.ExpiresUnixMs is null ? updated : await PrefilledAsync(updated, context.RequestAborted));
    }

    private async Task GetAsync(HttpContext context)
    {
        var id = RouteValue(context, "id");
        var found = await Catalog.GetAsync(TenantOf(context), id, context.RequestAborted);
        await SendAsync(context, found ?? throw NoContext(id));
    }

    private async Task DeleteAsync(HttpContext context)
    {
        var id = RouteValue(context, "id");
        if (!await Catalog.DeleteAsync(TenantOf(context), id, context.RequestAborted))
        {
            throw NoContext(id);
        }

        await ContextJson.SendAsync(context, writer =>
        {
            writer.WriteStartObject();
            writer.WriteBoolean("deleted"u8, true);
            writer.WriteString("id"u8, id);
            writer.WriteString("object"u8, "context_cache_object.deleted"u8);
            writer.WriteEndObject();
        });
    }

    private async Task ListAsync(HttpContext context)
    {
        var query = ContextRequests.ReadQuery(context.Request.Query, KeptContext.IdCharsMax);
        var page = await Catalog.ListAsync(TenantOf(context), query, context.RequestAborted)
            ?? throw ApiException.WrongValue(BoundOf(query), "there is no such context");
        var now = _parts.Time.GetUtcNow();
        await ContextJson.SendAsync(
            context, writer => ContextJson.WriteList(writer, page, entry => ContextJson.Write(writer, entry, now)));
    }

    private async Task SetTagAsync(HttpContext context)
    {
        var catalog = Catalog;
        var tenant = TenantOf(context);
        var (tag, id) = await ReadAsync(context, ContextRequests.ReadTag);
        var set = await catalog.SetTagAsync(tenant, tag, id, context.RequestAborted)
            ?? throw ContextUse.NotFound("cache_id", $"context {ApiException.Quote(id)}");
        await ContextJson.SendAsync(context, writer => ContextJson.Write(writer, set));
    }

    private async Task GetTagAsync(HttpContext context)
    {
        var found = await FindTagAsync(context);
        await ContextJson.SendAsync(context, writer => ContextJson.Write(writer, found));
    }

    private async Task GetTagContentAsync(HttpContext context)
    {
        var tag = await FindTagAsync(context);
        var found = await Catalog.GetAsync(tag.Tenant, tag.ContextId, context.RequestAborted);
        await SendAsync(context, found ?? throw NoContext(tag.ContextId));
    }

    private async Task ListTagsAsync(HttpContext context)
    {
        var query = ContextRequests.ReadQuery(context.Request.Query, ContextTag.CharsMax);
        var page = await Catalog.ListTagsAsync(TenantOf(context), query, context.RequestAborted)
            ?? throw ApiException.WrongValue(BoundOf(query), "there is no such tag");
        await ContextJson.SendAsync(
            context, writer => ContextJson.WriteList(writer, page, tag => ContextJson.Write(writer, tag)));
    }

    private async Task DeleteTagAsync(HttpContext context)
    {
        var tag = RouteValue(context, "tag");
        await Catalog.DeleteTagAsync(TenantOf(context), tag, context.RequestAborted);
        await ContextJson.SendAsync(context, writer =>
        {
            writer.WriteStartObject();
            writer.WriteBoolean("deleted"u8, true);
            writer.WriteString("object"u8, "cache_object.tag.deleted"u8);
            writer.WriteString("tag"u8, tag);
            writer.WriteEndObject();
        });
    }

    private static string BoundOf(ContextQuery query) => query.After.Length > 0 ? "after" : "before";

    private async Task<ContextTag> FindTagAsync(HttpContext context)
    {
        var tag = RouteValue(context, "tag");
        return await Catalog.GetTagAsync(TenantOf(context), tag, context.RequestAborted) ?? throw NoTag(tag);
    }

    /// <summary>The context once it is prefilled, or as it is when that takes too long.</summary>
    private async Task<KeptContext> PrefilledAsync(KeptContext context, CancellationToken cancellationToken)
    {
        var prefilled = _prefill!.Begin(context);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(
            prefilled,
            Task.Delay(TimeSpan.FromMilliseconds(_parts.Caching.CreateWaitMs), _parts.Time, ended.Token));
        await ended.CancelAsync();
        return prefilled.IsCompleted
            ? await Catalog.GetAsync(context.Tenant, context.Id, cancellationToken) ?? context
            : context;
    }

    private Task SendAsync(HttpContext context, KeptContext kept) => ContextJson.SendAsync(
        context, writer => ContextJson.Write(writer, kept, _parts.Time.GetUtcNow()));

    private async Task<T> ReadAsync<T>(HttpContext context, Func<JsonFields, T> read)
    {
        using var body = await RequestBody.ReadAsync(context.Request, _options, context.RequestAborted);
        try
        {
            return read(body.Fields);
        }
        catch (InvalidOperationException)
        {
            // The only thing left that the JSON reader refuses after the document was parsed.
            throw ApiException.Invalid(null, "invalid_json", "A field's name has an escape of half a surrogate pair.");
        }
    }
}
