using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>A worker with the built-in model; the store's folder outlives it when the test says so.</summary>
internal sealed class WorkerSession : IAsyncDisposable
{
    public const int EndOfMessage = 258;
    private readonly LoadedModel _model;
    private readonly KvBlockStore? _store;
    private readonly Dictionary<string, float[]> _promptLogits = [];

    public WorkerSession(
        string? storeFolder = null,
        int chunkTokens = 512,
        string kernels = "cpu",
        long poolBytes = 64 << 20,
        EngineOptions? engine = null,
        string? modelPath = null,
        string kvType = "auto")
    {
        _model = LoadedModel.Open(new ModelOptions { Path = modelPath ?? BuiltInModel.Path, Id = "needle" });
        var options = new WorkerOptions { KvPoolBytes = poolBytes, Kernels = kernels, KvType = kvType };
        if (storeFolder is not null)
        {
            _store = ScannedStore.Open(
                new KvBlockStoreOptions { Directory = storeFolder, FlushIntervalMs = 10 },
                KimiWorker.LayoutOf(_model, options),
                _model.Fingerprint);
        }

        Worker = new KimiWorker(
            _model,
            options,
            (engine ?? new EngineOptions()) with { PrefillChunkTokens = chunkTokens },
            _store,
            new StoreConnectorOptions(),
            TimeProvider.System,
            NullLogger.Instance,
            vocabulary: BuiltInModel.Vocabulary);
        Worker.Runner.Observer = Observe;
    }

    public KimiWorker Worker { get; }

    public static int[] TokensOf(string text) => [.. System.Text.Encoding.UTF8.GetBytes(text).Select(b => (int)b)];

    public static string TextOf(IEnumerable<int> tokens) =>
        System.Text.Encoding.UTF8.GetString([.. tokens.Where(t => t < 256).Select(t => (byte)t)]);

    /// <summary>A text without repetitions longer than a few words, in which one fact stands.</summary>
    public static string Document(int length, int seed, string fact)
    {
        string[] words = ["harbour", "lantern", "winter", "engine", "garden", "letter", "mountain", "signal", "bridge"];
        var random = new Random(seed);
        var text = new System.Text.StringBuilder();
        while (text.Length < length)
        {
            text.Append(words[random.Next(words.Length)]).Append(random.Next(100));
            text.Append(random.Next(6) == 0 ? ". " : " ");
            if (fact.Length > 0 && text.Length > length / 3)
            {
                text.Append(fact).Append(' ');
                fact = "";
            }
        }

        return text.ToString(0, length);
    }

    /// <summary>Runs a greedy request to its end.</summary>
    public async Task<WorkerAnswer> AskAsync(
        int[] prompt,
        int maxNewTokens = 8,
        SamplingParameters? sampling = null,
        CancellationToken cancellation = default)
    {
        var id = Guid.NewGuid().ToString("n");
        var request = new GenerationRequest
        {
            RequestId = id,
            PromptTokens = prompt,
            MaxNewTokens = maxNewTokens,
            StopTokens = [EndOfMessage],
            Sampling = sampling ?? SamplingParameters.Greedy,
        };
        var tokens = new List<int>();
        var cached = -1;
        var reason = FinishReason.Failed;
        await foreach (var next in Worker.GenerateAsync(request, cancellation))
        {
            switch (next)
            {
                case PrefillFinished prefill:
                    cached = prefill.CachedTokens;
                    break;
                case TokenGenerated token:
                    tokens.Add(token.TokenId);
                    break;
                case GenerationFinished finished:
                    reason = finished.Reason;
                    break;
            }
        }

        float[] logits;
        lock (_promptLogits)
        {
            logits = _promptLogits[KeyOf(prompt)];
        }

        return new WorkerAnswer(tokens, cached, reason, logits);
    }

    public async ValueTask DisposeAsync()
    {
        await Worker.DisposeAsync();
        if (_store is not null)
        {
            await _store.DisposeAsync();
        }

        _model.Dispose();
    }

    /// <summary>Waits until the worker has nothing to do.</summary>
    public async Task IdleAsync(CancellationToken cancellation)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (Worker.Status() is not { Waiting: 0, Running: 0, BlocksHeld: 0 })
        {
            await timer.WaitForNextTickAsync(cancellation);
        }
    }

    private static string KeyOf(ReadOnlySpan<int> prompt) => string.Join(' ', prompt.ToArray());

    private void Observe(Sequence sequence, int position, ReadOnlySpan<float> logits)
    {
        if (position == sequence.PromptLength)
        {
            lock (_promptLogits)
            {
                _promptLogits[KeyOf(sequence.Tokens[..position])] = logits.ToArray();
            }
        }
    }
}

/// <summary>What a request came to.</summary>
internal sealed record WorkerAnswer(List<int> Tokens, int CachedTokens, FinishReason Reason, float[] PromptLogits);
