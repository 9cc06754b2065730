using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>
/// A worker whose tokens follow from prompt, seed and place alone, as a real one's do; it checks the tokens that it is
/// to compute again, and fails as it is told.
/// </summary>
internal sealed class SimulatedWorker : Wire.Generation.GenerationBase
{
    private readonly Lock _lock = new();
    private readonly List<GenerationRequest> _requests = [];
    private int _active;

    /// <summary>Fails when it has sent so many tokens of a request, and the client has them; null never.</summary>
    public int? DiesAfterTokens { get; set; }

    /// <summary>Whether it fails by breaking the connection, with what has been sent and is not there yet.</summary>
    public bool BreaksConnection { get; set; }

    /// <summary>Sends nothing more when it has sent so many tokens of a request; null never.</summary>
    public int? HangsAfterTokens { get; set; }

    /// <summary>Before anything is done: throw to refuse.</summary>
    public Action<GenerationRequest> Admit { get; set; } = _ => { };

    /// <summary>Changes what is sent.</summary>
    public Func<Wire.GenerateEvent, IEnumerable<Wire.GenerateEvent>> Send { get; set; } = e => [e];

    public int CachedTokens { get; set; }

    public TaskCompletionSource Hanging { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public int Active => Volatile.Read(ref _active);

    public IReadOnlyList<GenerationRequest> Requests
    {
        get
        {
            lock (_lock)
            {
                return [.. _requests];
            }
        }
    }

    /// <summary>What the model generates at a place.</summary>
    public static TokenGenerated Token(GenerationRequest request, int place)
    {
        var hash = (uint)(request.Sampling.Seed + 17);
        foreach (var token in request.PromptTokens)
        {
            hash = (hash * 31) + (uint)token;
        }

        hash = (hash ^ (uint)place) * 2_654_435_761;
        var id = (int)((hash >> 8) % SimulatedNode.VocabularySize);
        return request.Sampling.Logprobs
            ? new TokenGenerated(id, -1f / (place + 1), [new(id, -1f / (place + 1)), new(id / 2, -9f)])
            : new TokenGenerated(id, 0, []);
    }

    public override async Task Generate(
        Wire.GenerateRequest request, IServerStreamWriter<Wire.GenerateEvent> responseStream,
        ServerCallContext context)
    {
        var read = GenerationMessages.ToRequest(request);
        lock (_lock)
        {
            _requests.Add(read);
        }

        Interlocked.Increment(ref _active);
        try
        {
            try
            {
                Admit(read);
            }
            catch (Exception refusal) when (WorkerMessages.RefusalOf(refusal) is { } rpc)
            {
                throw rpc;
            }

            foreach (var next in Events(read))
            {
                if (next is Script.Die)
                {
                    if (BreaksConnection)
                    {
                        context.GetHttpContext().Abort();
                    }

                    throw new RpcException(new Status(StatusCode.Unavailable, "it died"));
                }

                if (next is Script.Hang)
                {
                    Hanging.TrySetResult();
                    await new TaskCompletionSource().Task.WaitAsync(context.CancellationToken);
                }

                foreach (var message in Send(GenerationMessages.ToMessage(next)))
                {
                    await responseStream.WriteAsync(message, context.CancellationToken);
                }
            }
        }
        finally
        {
            Interlocked.Decrement(ref _active);
            if (context.CancellationToken.IsCancellationRequested)
            {
                Cancelled.TrySetResult();
            }
        }
    }

    public override Task<Wire.GetStatusResponse> GetStatus(Wire.GetStatusRequest request, ServerCallContext context) =>
        Task.FromResult(WorkerMessages.ToMessage(new WorkerStatus
        {
            Ready = true,
            Waiting = 0,
            Running = Active,
            BlocksTotal = 10,
            BlocksFree = 10,
            BlocksCached = 0,
            BlocksHeld = 0,
            Metrics =
            [
                new Metric("served_total", IsCounter: true, "Requests.", Requests.Count),
                new Metric("running_now", IsCounter: false, "Requests.", Active),
            ],
        }));

    private IEnumerable<GenerationEvent> Events(GenerationRequest request)
    {
        var prompt = request.PromptTokens.Count;
        if (request.ReportProgress)
        {
            yield return new PrefillProgressed(prompt, CachedTokens, CachedTokens);
            yield return new PrefillProgressed(prompt, CachedTokens, (CachedTokens + prompt) / 2);
        }

        // 0 stands for the time before the prompt is complete.
        if (DiesAfterTokens == 0)
        {
            yield return new Script.Die();
        }

        if (HangsAfterTokens == 0)
        {
            yield return new Script.Hang();
        }

        yield return new PrefillFinished(prompt, CachedTokens);
        for (var place = 0; place < request.MaxNewTokens; place++)
        {
            var token = Token(request, place);
            if (place < request.GeneratedTokens.Count)
            {
                if (request.GeneratedTokens[place] != token.TokenId)
                {
                    yield return new GenerationFinished(FinishReason.Failed, "replayed another token");
                    yield break;
                }

                continue;
            }

            if (request.StopTokens.Contains(token.TokenId))
            {
                yield return new GenerationFinished(FinishReason.Stop);
                yield break;
            }

            yield return token;
            var sent = place + 1;
            if (sent == DiesAfterTokens)
            {
                yield return new Script.Die();
            }

            if (sent == HangsAfterTokens)
            {
                yield return new Script.Hang();
            }
        }

        yield return new GenerationFinished(FinishReason.Length);
    }

    private abstract record Script : GenerationEvent
    {
        public sealed record Die : Script;

        public sealed record Hang : Script;
    }
}
