using Grpc.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>The catalog of this process for other processes.</summary>
/// <param name="catalog">The catalog, owned by the caller; null where this process keeps none.</param>
public sealed class ContextsService(IContextCatalog? catalog) : Wire.Contexts.ContextsBase
{
    private const string OffMessage = "no contexts are kept: contexts.directory is not set where the conductor is";

    /// <inheritdoc />
    public override Task<Wire.Context> CreateContext(Wire.CreateContextRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => ContextMessages.ToMessage(await contexts.CreateAsync(
            ContextMessages.ToContext(request.Context ?? new Wire.Context()), ContextMessages.ToTags(request.Tags),
            ended).ConfigureAwait(false)));
    }

    /// <inheritdoc />
    public override Task<Wire.Context> GetContext(Wire.ContextName request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => ContextMessages.ToMessage(Found(
            await contexts.GetAsync(request.Tenant, request.Id, ended).ConfigureAwait(false))));
    }

    /// <inheritdoc />
    public override Task<Wire.ListContextsResponse> ListContexts(
        Wire.ListContextsRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => Page(Found(await contexts.ListAsync(
            request.Tenant, ContextMessages.ToQuery(request), ended).ConfigureAwait(false))));
    }

    /// <inheritdoc />
    public override Task<Wire.ListContextsResponse> ListPendingContexts(
        Wire.ListPendingContextsRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => Page(await contexts.ListPendingAsync(
            request.AfterSequence, Protocol.FieldCheck.Count(request.Limit, "limit", 1, ContextQuery.LimitMax), ended)
            .ConfigureAwait(false)));
    }

    /// <inheritdoc />
    public override Task<Wire.Context> UpdateContext(Wire.UpdateContextRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => ContextMessages.ToMessage(Found(
            await contexts.UpdateAsync(request.Tenant, request.Id, ContextMessages.ToUpdate(request), ended)
                .ConfigureAwait(false))));
    }

    /// <inheritdoc />
    public override Task<Wire.DeleteContextResponse> DeleteContext(Wire.ContextName request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => new Wire.DeleteContextResponse
        {
            Deleted = await contexts.DeleteAsync(request.Tenant, request.Id, ended).ConfigureAwait(false),
        });
    }

    /// <inheritdoc />
    public override Task<Wire.ContextTag> SetContextTag(Wire.SetContextTagRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => ContextMessages.ToMessage(Found(
            await contexts.SetTagAsync(
                ContextMessages.Tenant(request.Tenant), ContextMessages.Tag(request.Tag), request.ContextId, ended)
                .ConfigureAwait(false))));
    }

    /// <inheritdoc />
    public override Task<Wire.ContextTag> GetContextTag(Wire.ContextTagName request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) => ContextMessages.ToMessage(Found(
            await contexts.GetTagAsync(request.Tenant, request.Tag, ended).ConfigureAwait(false))));
    }

    /// <inheritdoc />
    public override Task<Wire.ListContextTagsResponse> ListContextTags(
        Wire.ListContextTagsRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) =>
        {
            var tags = Found(await contexts.ListTagsAsync(request.Tenant, ContextMessages.ToQuery(request), ended)
                .ConfigureAwait(false));
            return new Wire.ListContextTagsResponse { Tags = { tags.Select(ContextMessages.ToMessage) } };
        });
    }

    /// <inheritdoc />
    public override Task<Wire.DeleteContextTagResponse> DeleteContextTag(
        Wire.ContextTagName request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return AnswerAsync(context, async (contexts, ended) =>
        {
            await contexts.DeleteTagAsync(request.Tenant, request.Tag, ended).ConfigureAwait(false);
            return new Wire.DeleteContextTagResponse();
        });
    }

    private static Wire.ListContextsResponse Page(IEnumerable<KeptContext> contexts) =>
        new() { Contexts = { contexts.Select(ContextMessages.ToMessage) } };

    private static T Found<T>(T? value)
        where T : class =>
        value ?? throw new RpcException(new Status(StatusCode.NotFound, "the tenant has nothing of this name"));

    private async Task<T> AnswerAsync<T>(
        ServerCallContext context, Func<IContextCatalog, CancellationToken, Task<T>> answer)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (catalog is null)
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, OffMessage));
        }

        try
        {
            return await answer(catalog, context.CancellationToken).ConfigureAwait(false);
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "the call was ended"));
        }
        catch (InvalidDataException fault)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }
        catch (ContextLimitException fault)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, fault.Message));
        }
        catch (ContextCatalogException fault)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, fault.Message));
        }
    }
}
