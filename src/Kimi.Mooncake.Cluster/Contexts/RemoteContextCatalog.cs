using Grpc.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>The catalog of the process with the conductor.</summary>
/// <param name="invoker">Makes the calls; owned by the caller.</param>
/// <param name="address">Address of that process, for messages.</param>
/// <param name="timeout">How long an answer is waited for.</param>
/// <param name="time">Clock.</param>
/// <remarks>Every method also throws <see cref="ContextsOffException"/> where that process keeps none.</remarks>
public sealed class RemoteContextCatalog(CallInvoker invoker, string address, TimeSpan timeout, TimeProvider time)
    : IContextCatalog
{
    private readonly Wire.Contexts.ContextsClient _client = new(invoker);

    /// <inheritdoc />
    public async Task<KeptContext> CreateAsync(
        KeptContext context, IReadOnlyList<string> tags, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(tags);
        var request = new Wire.CreateContextRequest { Context = ContextMessages.ToMessage(context), Tags = { tags } };
        var created = await CallAsync(
            options => _client.CreateContextAsync(request, options), ContextMessages.ToContext, cancellationToken)
            .ConfigureAwait(false);
        return created ?? throw Unavailable("it says that a new context is not there", null);
    }

    /// <inheritdoc />
    public Task<KeptContext?> GetAsync(string tenant, string id, CancellationToken cancellationToken)
    {
        var request = new Wire.ContextName { Tenant = tenant, Id = id };
        return CallAsync(
            options => _client.GetContextAsync(request, options), ContextMessages.ToContext, cancellationToken);
    }

    /// <inheritdoc />
    public Task<IReadOnlyList<KeptContext>?> ListAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        var request = ContextMessages.ToMessage(tenant, query);
        return CallAsync(options => _client.ListContextsAsync(request, options), ToPage, cancellationToken);
    }

    /// <inheritdoc />
    public async Task<IReadOnlyList<KeptContext>> ListPendingAsync(
        ulong afterSequence, int limit, CancellationToken cancellationToken)
    {
        var request = new Wire.ListPendingContextsRequest
        {
            Limit = checked((uint)limit),
            AfterSequence = afterSequence,
        };
        return await CallAsync(
            options => _client.ListPendingContextsAsync(request, options), ToPage, cancellationToken)
            .ConfigureAwait(false) ?? [];
    }

    /// <inheritdoc />
    public Task<KeptContext?> UpdateAsync(
        string tenant, string id, ContextUpdate update, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(update);
        var request = ContextMessages.ToMessage(tenant, id, update);
        return CallAsync(
            options => _client.UpdateContextAsync(request, options), ContextMessages.ToContext, cancellationToken);
    }

    /// <inheritdoc />
    public async Task<bool> DeleteAsync(string tenant, string id, CancellationToken cancellationToken)
    {
        var request = new Wire.ContextName { Tenant = tenant, Id = id };
        var response = await CallAsync(
            options => _client.DeleteContextAsync(request, options), message => message, cancellationToken)
            .ConfigureAwait(false);
        return response?.Deleted ?? false;
    }

    /// <inheritdoc />
    public Task<ContextTag?> SetTagAsync(string tenant, string tag, string id, CancellationToken cancellationToken)
    {
        var request = new Wire.SetContextTagRequest { Tenant = tenant, Tag = tag, ContextId = id };
        return CallAsync(
            options => _client.SetContextTagAsync(request, options), ContextMessages.ToTag, cancellationToken);
    }

    /// <inheritdoc />
    public Task<ContextTag?> GetTagAsync(string tenant, string tag, CancellationToken cancellationToken)
    {
        var request = new Wire.ContextTagName { Tenant = tenant, Tag = tag };
        return CallAsync(
            options => _client.GetContextTagAsync(request, options), ContextMessages.ToTag, cancellationToken);
    }

    /// <inheritdoc />
    public Task<IReadOnlyList<ContextTag>?> ListTagsAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        var request = new Wire.ListContextTagsRequest
        {
            Tenant = tenant,
            Limit = checked((uint)query.Limit),
            Ascending = query.Ascending,
            After = query.After,
            Before = query.Before,
        };
        return CallAsync<Wire.ListContextTagsResponse, IReadOnlyList<ContextTag>>(
            options => _client.ListContextTagsAsync(request, options),
            response => [.. response.Tags.Select(ContextMessages.ToTag)], cancellationToken);
    }

    /// <inheritdoc />
    public Task DeleteTagAsync(string tenant, string tag, CancellationToken cancellationToken)
    {
        var request = new Wire.ContextTagName { Tenant = tenant, Tag = tag };
        return CallAsync(
            options => _client.DeleteContextTagAsync(request, options), message => message, cancellationToken);
    }

    private static IReadOnlyList<KeptContext> ToPage(Wire.ListContextsResponse response) =>
        [.. response.Contexts.Select(ContextMessages.ToContext)];

    /// <summary>Null where the other process finds nothing of that name.</summary>
    private async Task<TResult?> CallAsync<TMessage, TResult>(
        Func<CallOptions, AsyncUnaryCall<TMessage>> call, Func<TMessage, TResult> read,
        CancellationToken cancellationToken)
        where TResult : class
    {
        try
        {
            var deadline = time.GetUtcNow().UtcDateTime + timeout;
            return read(await call(new CallOptions(deadline: deadline, cancellationToken: cancellationToken))
                .ResponseAsync.ConfigureAwait(false));
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            return fault.StatusCode switch
            {
                StatusCode.NotFound => null,
                StatusCode.InvalidArgument => throw new InvalidDataException(fault.Status.Detail, fault),
                StatusCode.ResourceExhausted => throw new ContextLimitException(fault.Status.Detail),
                StatusCode.FailedPrecondition => throw new ContextsOffException(fault.Status.Detail),
                StatusCode.Unimplemented => throw new ContextsOffException(
                    $"conductor {address} knows no contexts; it is of an earlier version"),
                _ => throw Unavailable($"{fault.StatusCode}, {fault.Status.Detail}", fault),
            };
        }
        catch (InvalidDataException fault)
        {
            throw Unavailable($"sent what it may not: {fault.Message}", fault);
        }
    }

    private ContextCatalogException Unavailable(string what, Exception? cause) =>
        new($"conductor {address}: {what}", cause);
}
