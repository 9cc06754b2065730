using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>
/// Prefills contexts beside requests. What a failure leaves pending, or a gateway that ended, or what found no room to
/// wait, is found again by looking for it at the start and at an interval; prefilling one twice does no harm.
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
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Run> _runs = [];
    private readonly CancellationTokenSource _stopping = new();
    private Task _scanning = Task.CompletedTask;
    private ulong _scannedTo;

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

    /// <summary>
    /// Prefills a context that is in the catalog, as it is there once its turn comes; ends when it is ready, or was
    /// given up for now. Where too many wait already it ends at once, and the context stays pending.
    /// </summary>
    public Task Begin(KeptContext context) => TryBegin(context, out var done) ? done : Task.CompletedTask;

    /// <summary>Ends all prefills; they stay pending.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _scanning;
        Task[] running;
        lock (_lock)
        {
            running = [.. _runs.Values.Select(run => run.Done.Task)];
        }

        await Task.WhenAll(running);
        _stopping.Dispose();
        _slots.Dispose();
    }

    /// <summary>A context is prefilled by one run at a time; one that changed meanwhile is prefilled again.</summary>
    private bool TryBegin(KeptContext context, out Task done)
    {
        Run? run;
        lock (_lock)
        {
            if (_runs.TryGetValue(context.Id, out run))
            {
                run.IsAskedAgain = true;
                done = run.Done.Task;
                return true;
            }

            if (_runs.Count >= _parts.Caching.PrefillsMax + _parts.Caching.PrefillsWaitingMax)
            {
                done = Task.CompletedTask;
                return false;
            }

            run = new Run(context.Tenant, context.Id);
            _runs.Add(context.Id, run);
        }

        done = run.Done.Task;
        _ = RunAsync(run);
        return true;
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

    /// <summary>
    /// Goes on where the last look found no more room, so that contexts that fail again and again keep no others back.
    /// </summary>
    private async Task ScanOnceAsync(TimeSpan youngest)
    {
        try
        {
            var before = (_parts.Time.GetUtcNow() - youngest).ToUnixTimeMilliseconds();
            while (true)
            {
                var pending = await _catalog.ListPendingAsync(_scannedTo, ScanMax, _stopping.Token);
                foreach (var context in pending)
                {
                    if (context.CreatedUnixMs <= before && !TryBegin(context, out _))
                    {
                        return;
                    }

                    _scannedTo = context.Sequence;
                }

                if (pending.Count == 0)
                {
                    _scannedTo = 0;
                    return;
                }
            }
        }
        catch (Exception fault) when (!_stopping.IsCancellationRequested)
        {
            // Whatever it was, the next look must come.
            GatewayLog.ContextScanFailed(_logger, fault.Message);
        }
    }

    private async Task RunAsync(Run run)
    {
        try
        {
            do
            {
                await _slots.WaitAsync(_stopping.Token);
                try
                {
                    await PrefillAsync(run);
                }
                finally
                {
                    _slots.Release();
                }
            }
            while (!IsOver(run));
        }
        catch (Exception fault)
        {
            // It is found again later; the reason belongs to the log, since no request waits for it.
            GatewayLog.ContextNotPrefilled(_logger, run.Id, fault.Message);
            lock (_lock)
            {
                _runs.Remove(run.Id);
            }
        }
        finally
        {
            run.Done.SetResult();
        }
    }

    private async Task PrefillAsync(Run run)
    {
        lock (_lock)
        {
            run.IsAskedAgain = false;
        }

        if (await _catalog.GetAsync(run.Tenant, run.Id, _stopping.Token) is { } context)
        {
            var state = await PrefillAsync(context);
            await _catalog.UpdateAsync(run.Tenant, run.Id, new ContextUpdate(State: state), CancellationToken.None);
        }
    }

    /// <summary>Whether nobody asked since the context was read; if so, whoever asks next begins anew.</summary>
    private bool IsOver(Run run)
    {
        lock (_lock)
        {
            return !run.IsAskedAgain && _runs.Remove(run.Id);
        }
    }

    private async Task<ContextState> PrefillAsync(KeptContext context)
    {
        try
        {
            _prompts.CheckNamespace(context, "cache_id");
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
        catch (ApiException fault)
        {
            return new ContextState(ContextStatus.Error, fault.Type, fault.Message);
        }
        catch (Exception fault) when (fault is PromptTooLongException or ArgumentException)
        {
            return new ContextState(ContextStatus.Error, "invalid_request_error", fault.Message);
        }
    }

    /// <summary>The prefill of one context, waiting or at work; of the context it has no more than the name.</summary>
    private sealed class Run(string tenant, string id)
    {
        public string Tenant => tenant;

        public string Id => id;

        public bool IsAskedAgain { get; set; }

        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
