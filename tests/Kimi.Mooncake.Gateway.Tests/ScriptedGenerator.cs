using System.Runtime.CompilerServices;
using System.Text;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>
/// A simulated worker: it answers every prompt with given tokens, by the same rules of limits, stop tokens and
/// cancellation as a real one, and records what it was asked and how each generation ended.
/// </summary>
internal sealed class ScriptedGenerator : ITokenGenerator
{
    public const int ContextLength = 1000;
    public const int VocabularySize = 320;
    public const int ImEnd = 258;

    private readonly Lock _lock = new();
    private readonly List<GenerationRequest> _requests = [];
    private long _tokensGenerated;
    private int _active;
    private int _cancelled;

    public ModelCard Model { get; init; } = new(
        "test/kimi", ContextLength, VocabularySize, new string('a', 64),
        new KvLayout(KvElementType.F32, 3, 160, 32, 64), 1_700_000_000);

    /// <summary>The tokens of the answer; ends with <see cref="ImEnd"/> like a model's.</summary>
    public Func<GenerationRequest, IEnumerable<int>> Answer { get; set; } = _ => Bytes("Hello, world", end: true);

    public int CachedTokens { get; set; }

    public double SecondsSaved { get; set; }

    /// <summary>The alternatives of a token, as many as asked for.</summary>
    public Func<int, int, TokenLogprob[]> TopLogprobs { get; set; } = (token, count) =>
        [.. Enumerable.Range(0, count)
            .Select(i => new TokenLogprob(token + i, i == 0 ? -0.5f : float.NegativeInfinity))];

    /// <summary>Thrown before anything is done.</summary>
    public Exception? Refusal { get; set; }

    /// <summary>Ends the generation this way after the answer's tokens.</summary>
    public GenerationFinished? End { get; set; }

    /// <summary>After the answer's tokens, waits until cancelled.</summary>
    public bool HangAfterAnswer { get; set; }

    /// <summary>The prompt of a request is complete only when this task is.</summary>
    public Func<GenerationRequest, Task> Prefill { get; set; } = _ => Task.CompletedTask;

    public bool Ready { get; set; } = true;

    public ClusterStatus? Cluster { get; set; }

    public IReadOnlyList<Metric> Metrics { get; set; } =
        [new Metric("store_hits_total", IsCounter: true, "Blocks found in the store.", 7)];

    public TaskCompletionSource<GenerationRequest> FirstCancelled { get; } =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when a generation has given its whole answer and waits.</summary>
    public TaskCompletionSource FirstHanging { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

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

    public int Active => Volatile.Read(ref _active);

    public int Cancelled => Volatile.Read(ref _cancelled);

    public long TokensGenerated => Interlocked.Read(ref _tokensGenerated);

    public static IEnumerable<int> Bytes(string text, bool end = false)
    {
        var tokens = Encoding.UTF8.GetBytes(text).Select(b => (int)b);
        return end ? tokens.Append(ImEnd) : tokens;
    }

    public async IAsyncEnumerable<GenerationEvent> GenerateAsync(
        GenerationRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (Refusal is not null)
        {
            throw Refusal;
        }

        lock (_lock)
        {
            _requests.Add(request);
        }

        Interlocked.Increment(ref _active);
        try
        {
            await foreach (var generated in EventsAsync(request, cancellationToken))
            {
                yield return generated;
            }
        }
        finally
        {
            Interlocked.Decrement(ref _active);
            if (cancellationToken.IsCancellationRequested)
            {
                Interlocked.Increment(ref _cancelled);
                FirstCancelled.TrySetResult(request);
            }
        }
    }

    public WorkerStatus Status() => new()
    {
        Ready = Ready,
        NotReadyReason = Ready ? "" : "the model is loading",
        Waiting = 1,
        Running = 2,
        BlocksTotal = 10,
        BlocksFree = 5,
        BlocksCached = 3,
        BlocksHeld = 2,
        Metrics = Metrics,
        Cluster = Cluster,
    };

    private async IAsyncEnumerable<GenerationEvent> EventsAsync(
        GenerationRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var prompt = request.PromptTokens.Count;
        if (request.ReportProgress)
        {
            yield return new PrefillProgressed(prompt, CachedTokens, CachedTokens);
            yield return new PrefillProgressed(prompt, CachedTokens, prompt);
        }

        await Prefill(request).WaitAsync(cancellationToken);
        yield return new PrefillFinished(prompt, CachedTokens, SecondsSaved);
        var count = 0;
        foreach (var token in Answer(request))
        {
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            if (request.StopTokens.Contains(token))
            {
                yield return new GenerationFinished(FinishReason.Stop);
                yield break;
            }

            Interlocked.Increment(ref _tokensGenerated);
            yield return Token(request, token);
            if (++count == request.MaxNewTokens)
            {
                yield return new GenerationFinished(FinishReason.Length);
                yield break;
            }
        }

        if (HangAfterAnswer)
        {
            FirstHanging.TrySetResult();
            await new TaskCompletionSource().Task.WaitAsync(cancellationToken);
        }

        yield return End ?? new GenerationFinished(FinishReason.Length);
    }

    private TokenGenerated Token(GenerationRequest request, int token) => request.Sampling.Logprobs
        ? new TokenGenerated(token, -0.5f, TopLogprobs(token, request.Sampling.TopLogprobs))
        : new TokenGenerated(token, 0, []);
}
