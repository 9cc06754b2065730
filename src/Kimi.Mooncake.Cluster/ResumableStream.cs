using System.Diagnostics;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.Protocol;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster;

/// <summary>What the streams of a generator share.</summary>
internal sealed record ResumptionParts(
    IRouter Router,
    WorkerClient Workers,
    RetryOptions Options,
    RetryBudget Budget,
    RetryCounters Counters,
    TimeSpan Limit,
    TimeProvider Time,
    ILogger Logger);

/// <summary>
/// One request over as many workers as it takes. What was handed out is never handed out again: a further worker is
/// told the tokens that there are, computes them again without reporting them, and goes on after them.
/// </summary>
internal sealed class ResumableStream : IAsyncDisposable
{
    /// <summary>What a worker is left beyond the deadline, so that it is ours that is noticed.</summary>
    private static readonly TimeSpan AfterDeadline = TimeSpan.FromSeconds(1);

    private readonly ResumptionParts _parts;
    private readonly GenerationRequest _request;
    private readonly ModelCard _model;
    private readonly BlockKey[] _keys;
    private readonly List<int> _tokens;
    private readonly HashSet<string> _excluded = [];
    private readonly CancellationToken _callers;
    private readonly CancellationTokenSource _deadline;
    private readonly CancellationTokenSource _ended;
    private readonly long _start;
    private readonly Backoff _backoff;
    private Attempt? _attempt;
    private int _tries;
    private bool _prefillFinished;
    private int _processed = -1;
    private bool _over;

    public ResumableStream(
        ResumptionParts parts, GenerationRequest request, ModelCard model, CancellationToken cancellationToken)
    {
        _parts = parts;
        _request = request;
        _model = model;
        _keys = KeysOf(request, model);
        _tokens = [.. request.GeneratedTokens];
        _callers = cancellationToken;
        _start = parts.Time.GetTimestamp();
        _deadline = new CancellationTokenSource(parts.Limit, parts.Time);
        _ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _deadline.Token);
        _backoff = new Backoff(
            TimeSpan.FromMilliseconds(parts.Options.DelayMs), TimeSpan.FromMilliseconds(parts.Options.DelayMaxMs),
            request.RequestId.GetHashCode(StringComparison.Ordinal));
    }

    /// <summary>The next event; null after the last.</summary>
    public async Task<GenerationEvent?> NextAsync()
    {
        while (!_over)
        {
            try
            {
                _attempt ??= await OpenAsync().ConfigureAwait(false);
                var next = await _attempt.NextAsync().ConfigureAwait(false);
                if (Accept(next))
                {
                    return next;
                }
            }
            catch (AttemptFailedException fault)
            {
                await CloseAsync().ConfigureAwait(false);
                if (await PrepareAsync(fault).ConfigureAwait(false) is { } last)
                {
                    return last;
                }
            }
            catch (OperationCanceledException) when (!_callers.IsCancellationRequested
                && _deadline.IsCancellationRequested)
            {
                throw new WorkerUnavailableException($"the request took longer than {_parts.Limit.TotalSeconds:0} s");
            }
        }

        return null;
    }

    public async ValueTask DisposeAsync()
    {
        await CloseAsync().ConfigureAwait(false);
        _ended.Dispose();
        _deadline.Dispose();
    }

    private static BlockKey[] KeysOf(GenerationRequest request, ModelCard model)
    {
        var root = BlockKeyChain.Root(model.Fingerprint, model.KvLayout, request.CacheSalt);
        var chain = new BlockKeyChain(root, model.KvLayout.BlockTokens);
        chain.Extend(request.PromptTokens as int[] ?? [.. request.PromptTokens]);
        return chain.Keys.ToArray();
    }

    private static int ContextBlocksOf(GenerationRequest request, ModelCard model, int blocks)
    {
        var tokens = request.Retain.Where(prefix => prefix.Class == BlockClass.Context)
            .Select(prefix => prefix.Tokens).DefaultIfEmpty(0).Max();
        return Math.Clamp(tokens / model.KvLayout.BlockTokens, 0, blocks);
    }

    private async Task<Attempt> OpenAsync()
    {
        _tries++;
        var lease = await RouteAsync().ConfigureAwait(false);
        var pair = lease.Pair;
        var request = _request with
        {
            GeneratedTokens = [.. _tokens],
            ReportProgress = _request.ReportProgress && !_prefillFinished,
            PrefillAddress = pair.Prefill?.Address ?? "",
            SourceAddress = pair.Source?.Address ?? "",
            SourceBlocks = pair.Source is null ? 0 : pair.SourceBlocks,
        };
        var left = _parts.Limit - _parts.Time.GetElapsedTime(_start) + AfterDeadline;
        return new Attempt(lease, _parts.Workers, request, _model, left, _ended.Token);
    }

    private async Task<IRouteLease> RouteAsync()
    {
        using var span = RequestTrace.Begin(RequestTrace.Route, ActivityKind.Client);
        var lease = await new PatientRouter(_parts).RouteAsync(
            excluded => new RouteQuery
            {
                RequestId = _request.RequestId,
                Tenant = _request.Tenant,
                PromptTokens = _request.PromptTokens.Count,
                SequenceTokensMax = _request.PromptTokens.Count + _request.MaxNewTokens,
                BlockKeys = _keys,
                ContextBlocks = ContextBlocksOf(_request, _model, _keys.Length),
                ExcludedNodes = excluded,
            },
            _excluded, isRetry: _tries > 1 || _tokens.Count > 0, _ended.Token).ConfigureAwait(false);
        span?.SetTag("decode", lease.Pair.Decode.NodeId);
        span?.SetTag("prefill", lease.Pair.Prefill?.NodeId);
        span?.SetTag("source", lease.Pair.Source?.NodeId);
        return lease;
    }

    /// <summary>Whether the reader is to see an event, which it has not seen from another worker.</summary>
    private bool Accept(GenerationEvent next)
    {
        switch (next)
        {
            case PrefillProgressed progress:
                var isNew = !_prefillFinished && progress.ProcessedTokens > _processed;
                _processed = Math.Max(_processed, progress.ProcessedTokens);
                return isNew;
            case PrefillFinished:
                var isFirst = !_prefillFinished;
                _prefillFinished = true;
                return isFirst;
            case TokenGenerated token:
                _tokens.Add(token.TokenId);

                // What counts is a row of failures without anything gained.
                _tries = 0;
                _backoff.Reset();
                return true;
            default:
                _over = true;
                _parts.Budget.Succeeded();
                return true;
        }
    }

    /// <summary>Decides what follows a failed try; gives the last event where the request is over with it.</summary>
    private async Task<GenerationEvent?> PrepareAsync(AttemptFailedException fault)
    {
        _ended.Token.ThrowIfCancellationRequested();
        if (_tokens.Count >= _request.MaxNewTokens)
        {
            // Only the last word was missing.
            _over = true;
            return new GenerationFinished(FinishReason.Length);
        }

        var isFirst = _tries <= 1;
        if (_tries >= _parts.Options.AttemptsMax)
        {
            return GiveUp(fault, $"tried {_tries} times");
        }

        if (!_parts.Budget.TryTake())
        {
            _parts.Counters.OverBudget();
            return GiveUp(fault, "too many requests are being tried again");
        }

        _excluded.Add(fault.NodeId);
        _parts.Counters.Retried(fault.Reason, _tokens.Count > 0);
        RequestTrace.Current?.AddEvent(new ActivityEvent("retried", tags: new()
        {
            ["reason"] = fault.Reason.ToString(),
            ["node"] = fault.NodeId,
            ["tokens"] = _tokens.Count,
        }));
        ClusterLog.Retried(
            _parts.Logger, _request.RequestId, fault.Reason, fault.NodeId, _tokens.Count, fault.Cause.Message);
        if (!isFirst)
        {
            await Task.Delay(_backoff.Next(), _parts.Time, _ended.Token).ConfigureAwait(false);
        }

        return null;
    }

    private GenerationFinished GiveUp(AttemptFailedException fault, string why)
    {
        _over = true;
        var message = $"{fault.Cause.Message}; {why}";
        return fault.Reason switch
        {
            RetryReason.Failed => new GenerationFinished(FinishReason.Failed, message),
            RetryReason.QueueFull => throw new ClusterBusyException(
                message, TimeSpan.FromMilliseconds(_parts.Options.DelayMaxMs)),
            _ => throw new WorkerUnavailableException(message, fault.Cause),
        };
    }

    private async Task CloseAsync()
    {
        if (_attempt is { } attempt)
        {
            _attempt = null;
            await attempt.DisposeAsync().ConfigureAwait(false);
        }
    }
}
