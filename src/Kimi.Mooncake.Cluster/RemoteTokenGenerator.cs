using System.Runtime.CompilerServices;
using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// A worker in another process. Its status is asked for in the background, so that <see cref="Status"/> never waits; a
/// worker that was away is used again as soon as it answers and serves the same model.
/// </summary>
public sealed class RemoteTokenGenerator : ITokenGenerator, IAsyncDisposable
{
    private readonly Wire.Generation.GenerationClient _client;
    private readonly RemoteWorkerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private WorkerStatus _status;
    private Task _watching = Task.CompletedTask;

    private RemoteTokenGenerator(
        Wire.Generation.GenerationClient client, ModelCard model, RemoteWorkerOptions options, TimeProvider time,
        ILogger logger)
    {
        _client = client;
        _options = options;
        _time = time;
        _logger = logger;
        Model = model;
        _status = Away($"{Name}: its status is not known yet");
    }

    /// <inheritdoc />
    public ModelCard Model { get; }

    /// <summary>Waits until the worker answers.</summary>
    /// <param name="invoker">Makes the calls; owned by the caller, and must outlive the generator.</param>
    /// <param name="options">Limits.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told when the worker goes and comes.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="WorkerUnavailableException">It did not answer in time.</exception>
    public static async Task<RemoteTokenGenerator> ConnectAsync(
        CallInvoker invoker, RemoteWorkerOptions options, TimeProvider time, ILogger logger,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        var client = new Wire.Generation.GenerationClient(invoker);
        var start = time.GetTimestamp();
        while (true)
        {
            try
            {
                var model = await DescribeAsync(client, options, time, cancellationToken).ConfigureAwait(false);
                var generator = new RemoteTokenGenerator(client, model, options, time, logger);
                await generator.AskAsync().ConfigureAwait(false);
                generator._watching = generator.WatchAsync();
                return generator;
            }
            catch (WorkerUnavailableException fault)
            {
                if (time.GetElapsedTime(start).TotalMilliseconds >= options.StartTimeoutMs)
                {
                    throw new WorkerUnavailableException(
                        $"{fault.Message}; waited {options.StartTimeoutMs} ms (remote.start_timeout_ms)", fault);
                }
            }

            await Task.Delay(TimeSpan.FromMilliseconds(options.StatusIntervalMs), time, cancellationToken)
                .ConfigureAwait(false);
        }
    }

    /// <inheritdoc />
    public WorkerStatus Status() => Volatile.Read(ref _status);

    /// <inheritdoc />
    public async IAsyncEnumerable<GenerationEvent> GenerateAsync(
        GenerationRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var message = GenerationMessages.ToMessage(request, Model.Fingerprint);
        var deadline = Deadline(_time, TimeSpan.FromSeconds(_options.GenerationSecondsMax));
        using var call = _client.Generate(message, deadline: deadline, cancellationToken: cancellationToken);
        while (await NextAsync(call, cancellationToken).ConfigureAwait(false) is { } next)
        {
            if (next is GenerationFinished)
            {
                // The call ends by itself then, and is not taken for one that was given up.
                await RequireEndAsync(call, cancellationToken).ConfigureAwait(false);
                yield return next;
                yield break;
            }

            yield return next;
        }

        throw new WorkerUnavailableException($"{Name} ended a stream without saying why");
    }

    /// <summary>Stops to ask for the status. Generations that are running go on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        _stopping.Dispose();
    }

    private string Name => $"worker {_options.Address}";

    private async Task<GenerationEvent?> NextAsync(
        AsyncServerStreamingCall<Wire.GenerateEvent> call, CancellationToken cancellationToken)
    {
        try
        {
            return await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false)
                ? GenerationMessages.ToEvent(call.ResponseStream.Current, Model.VocabularySize)
                : null;
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault) when (WorkerMessages.ToRefusal(fault) is { } refusal)
        {
            throw refusal;
        }
        catch (RpcException fault) when (fault.StatusCode == StatusCode.InvalidArgument)
        {
            throw new ArgumentException(fault.Status.Detail, fault);
        }
        catch (RpcException fault)
        {
            throw Unavailable(_options, fault);
        }
        catch (InvalidDataException fault)
        {
            throw new WorkerUnavailableException($"{Name} sent what it may not: {fault.Message}", fault);
        }
    }

    private async Task RequireEndAsync(
        AsyncServerStreamingCall<Wire.GenerateEvent> call, CancellationToken cancellationToken)
    {
        if (await NextAsync(call, cancellationToken).ConfigureAwait(false) is { } more)
        {
            throw new WorkerUnavailableException($"{Name} sent {more.GetType().Name} after the end");
        }
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(_options.StatusIntervalMs), _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stopping.Token).ConfigureAwait(false))
            {
                await AskAsync().ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            ClusterLog.WatchEnded(_logger, _options.Address);
        }
    }

    private async Task AskAsync()
    {
        var before = Status();
        WorkerStatus now;
        try
        {
            // A worker that was away may have come back as another one.
            var model = before.Ready
                ? Model
                : await DescribeAsync(_client, _options, _time, _stopping.Token).ConfigureAwait(false);
            now = Differences(model) is { Length: > 0 } differences
                ? Away($"{Name} serves another model than at the start of the gateway: {differences}")
                : await StatusAsync().ConfigureAwait(false);
        }
        catch (WorkerUnavailableException fault)
        {
            now = Away(fault.Message);
        }

        Volatile.Write(ref _status, now);
        if (now.Ready && !before.Ready)
        {
            ClusterLog.WorkerReady(_logger, _options.Address);
        }
        else if (!now.Ready && before.Ready)
        {
            ClusterLog.WorkerAway(_logger, now.NotReadyReason);
        }
    }

    private Task<WorkerStatus> StatusAsync() => CallAsync(
        _options,
        async () => WorkerMessages.ToStatus(await _client.GetStatusAsync(
            new Wire.GetStatusRequest(), deadline: StatusDeadline(_options, _time),
            cancellationToken: _stopping.Token)),
        _stopping.Token);

    private static Task<ModelCard> DescribeAsync(
        Wire.Generation.GenerationClient client, RemoteWorkerOptions options, TimeProvider time,
        CancellationToken cancellationToken) => CallAsync(
            options,
            async () => ModelMessages.ToCard(await client.DescribeAsync(
                new Wire.DescribeRequest(), deadline: StatusDeadline(options, time),
                cancellationToken: cancellationToken)),
            cancellationToken);

    private static async Task<T> CallAsync<T>(
        RemoteWorkerOptions options, Func<Task<T>> call, CancellationToken cancellationToken)
    {
        try
        {
            return await call().ConfigureAwait(false);
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            throw Unavailable(options, fault);
        }
        catch (InvalidDataException fault)
        {
            throw new WorkerUnavailableException(
                $"worker {options.Address} sent what it may not: {fault.Message}", fault);
        }
    }

    /// <summary>What of a card is not as it was at the start; empty when all is.</summary>
    private string Differences(ModelCard now) => string.Join(", ", new[]
    {
        (Field: "model", Then: Model.ModelId, Now: now.ModelId),
        (Field: "fingerprint", Then: Model.Fingerprint, Now: now.Fingerprint),
        (Field: "context length", Then: $"{Model.ContextLength}", Now: $"{now.ContextLength}"),
        (Field: "vocabulary", Then: $"{Model.VocabularySize}", Now: $"{now.VocabularySize}"),
    }.Where(field => field.Then != field.Now).Select(field => $"{field.Field} {field.Now}, was {field.Then}"));

    private static WorkerStatus Away(string reason) => new()
    {
        Ready = false,
        NotReadyReason = reason,
        Waiting = 0,
        Running = 0,
        BlocksTotal = 0,
        BlocksFree = 0,
        BlocksCached = 0,
        BlocksHeld = 0,
        Metrics = [],
    };

    private static WorkerUnavailableException Unavailable(RemoteWorkerOptions options, RpcException fault) =>
        new($"worker {options.Address}: {fault.StatusCode}, {fault.Status.Detail}", fault);

    private static DateTime StatusDeadline(RemoteWorkerOptions options, TimeProvider time) =>
        Deadline(time, TimeSpan.FromMilliseconds(options.StatusTimeoutMs));

    private static DateTime Deadline(TimeProvider time, TimeSpan limit) => time.GetUtcNow().UtcDateTime + limit;
}
