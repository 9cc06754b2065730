using System.Collections.Concurrent;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>
/// Prefills contexts beside requests. What a failure leaves pending, or a gateway that ended, is found again by looking
/// for it at the start and at an interval; prefilling one twice does no harm.
/// </summary>
internal sealed class ContextPrefill : IAsyncDisposable
{
    private const int ScanMax = ContextQuery.LimitMax;

    private static readonly TimeSpan ReadyInterval = TimeSpan.FromMilliseconds(200);

    private readonly IContextCatalog _catalog;
    private readonly ContextPrompts _prompts;
    private readonly GatewayParts _parts;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _slots;
    private readonly ConcurrentDictionary<(string Id, long ExpiresUnixMs), Task> _running = new();
    private readonly CancellationTokenSource _stopping = new();
    private Task _scanning = Task.CompletedTask;

    public ContextPrefill(IContextCatalog catalog, ContextPrompts prompts, GatewayParts parts, ILogger logger)
    {
        _catalog = catalog;
        _prompts = prompts;
        _parts = parts;
        _logger = logger;
        _slots = new SemaphoreSlim(parts.Caching.PrefillsMax);
    }

    /// <summary>Starts to look for pending contexts.</summary>
    public void Start() => _scanning = ScanAsync();

    /// <summary>Prefills a context that is in the catalog; ends when it is ready, or was given up for now.</summary>
    public Task Begin(KeptContext context)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = _running.GetOrAdd((context.Id, context.ExpiresUnixMs), done.Task);
        if (running == done.Task)
        {
            _ = RunAsync(context, done);
        }

        return running;
    }

    /// <summary>Ends all prefills; they stay pending.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _scanning;
        await Task.WhenAll(_running.Values);
        _stopping.Dispose();
        _slots.Dispose();
    }

    private async Task ScanAsync()
    {
        try
        {
            while (!_parts.Generator.Status().Ready)
            {
                await Task.Delay(ReadyInterval, _parts.Time, _stopping.Token);
            }

            var interval = TimeSpan.FromSeconds(_parts.Caching.PendingScanSeconds);

            // Nobody else is at work on what was pending before this start; later another gateway may be.
            var youngest = TimeSpan.Zero;
            while (true)
            {
                await ScanOnceAsync(youngest);
                youngest = interval;
                await Task.Delay(interval, _parts.Time, _stopping.Token);
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            return;
        }
    }

    private async Task ScanOnceAsync(TimeSpan youngest)
    {
        try
        {
            var before = (_parts.Time.GetUtcNow() - youngest).ToUnixTimeMilliseconds();
            var pending = await _catalog.ListPendingAsync(ScanMax, _stopping.Token);
            foreach (var context in pending.Where(context => context.CreatedUnixMs <= before))
            {
                _ = Begin(context);
            }
        }
        catch (Exception fault) when (fault is ContextCatalogException or ContextsOffException)
        {
            GatewayLog.ContextScanFailed(_logger, fault.Message);
        }
    }

    private async Task RunAsync(KeptContext context, TaskCompletionSource done)
    {
        try
        {
            await _slots.WaitAsync(_stopping.Token);
            try
            {
                var state = await PrefillAsync(context);
                await _catalog.UpdateAsync(
                    context.Tenant, context.Id, new ContextUpdate(State: state), CancellationToken.None);
            }
            finally
            {
                _slots.Release();
            }
        }
        catch (Exception fault)
        {
            // It is found again later; the reason belongs to the log, since no request waits for it.
            GatewayLog.ContextNotPrefilled(_logger, context.Id, fault.Message);
        }
        finally
        {
            _running.TryRemove((context.Id, context.ExpiresUnixMs), out _);
            done.SetResult();
        }
    }

    private async Task<ContextState> PrefillAsync(KeptContext context)
    {
        try
        {
            var request = _prompts.Request(context, _prompts.Render(_prompts.Read(context)));
            await foreach (var generated in _parts.Generator.GenerateAsync(request, _stopping.Token))
            {
                if (generated is GenerationFinished { Reason: not (FinishReason.Stop or FinishReason.Length) } failed)
                {
                    throw new InvalidOperationException($"the prefill ended: {failed.Reason}, {failed.Message}");
                }
            }

            return ContextState.Ready;
        }
        catch (Exception fault) when (fault is PromptTooLongException or ArgumentException or ApiException)
        {
            return new ContextState(ContextStatus.Error, "invalid_request_error", fault.Message);
        }
    }
}
