using System.Diagnostics;
using System.Text;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>What every generator promises, of a real worker in this process and of the same one over gRPC.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class ConformanceTests(bool isRemote)
{
    private const int EndOfMessage = 258;
    private const string Fact = "The passcode of Aurora is 7319-KESTREL.";

    private string _path = "";
    private LoadedModel _model = null!;
    private KimiWorker _worker = null!;
    private RunningWorker? _server;

    private ITokenGenerator Generator => _server is null ? _worker : _server.Remote;

    [OneTimeSetUp]
    public async Task Start()
    {
        _path = Path.Combine(Path.GetTempPath(), $"mooncake-{Guid.NewGuid():n}.gguf");
        NeedleModel.Write(_path, TensorType.F16);
        _model = LoadedModel.Open(new ModelOptions { Path = _path });
        _worker = new KimiWorker(
            _model, new WorkerOptions { KvPoolBytes = 64 << 20 },
            new EngineOptions { PrefillChunkTokens = 256, RunningSequencesMax = 1, WaitingSequencesMax = 1 },
            null, new StoreConnectorOptions(), TimeProvider.System, NullLogger.Instance);
        _server = isRemote ? await RunningWorker.StartAsync(_worker) : null;
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        await _worker.DisposeAsync();
        _model.Dispose();
        File.Delete(_path);
    }

    [Test]
    public async Task Generate_AQuestion_GivesEventsInOrderAndTheAnswer()
    {
        int[] prompt =
        [
            259, .. Tokens("user"), 270, .. Tokens($"{Fact}\nComplete this sentence:\nThe passcode of Aurora is"),
            EndOfMessage, 260, .. Tokens("assistant"), 270,
        ];

        var events = await ListAsync(Request(prompt, 100), CancellationToken.None);

        var kinds = events.Select(next => next.GetType().Name).Distinct();
        Assert.That(kinds, Is.EqualTo(new[]
        {
            nameof(PrefillProgressed), nameof(PrefillFinished), nameof(TokenGenerated), nameof(GenerationFinished),
        }));
        Assert.That(events.OfType<PrefillFinished>().Single().PromptTokens, Is.EqualTo(prompt.Length));
        Assert.That(events[^1], Is.EqualTo(new GenerationFinished(FinishReason.Stop)));
        Assert.That(
            Encoding.UTF8.GetString([.. events.OfType<TokenGenerated>().Select(token => (byte)token.TokenId)]),
            Is.EqualTo(Fact));
    }

    [Test]
    public async Task Cancel_DuringPrefill_ReleasesEverythingSoon()
    {
        using var cancellation = new CancellationTokenSource();
        var prompt = Document(20_000);
        var before = ComputedTokens();
        var start = 0L;

        await Assert.CatchAsync<OperationCanceledException>(async () =>
        {
            await foreach (var next in Generator.GenerateAsync(Request(prompt, 10), cancellation.Token))
            {
                if (next is PrefillProgressed && start == 0)
                {
                    start = Stopwatch.GetTimestamp();
                    await cancellation.CancelAsync();
                }
            }
        });
        await IdleAsync();

        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(10)));
        Assert.That(ComputedTokens() - before, Is.LessThan(prompt.Length));
    }

    [Test]
    public async Task Reader_LeavingEarly_ReleasesEverything()
    {
        await foreach (var next in Generator.GenerateAsync(Request(Document(300), 20_000), CancellationToken.None))
        {
            if (next is TokenGenerated)
            {
                break;
            }
        }

        await IdleAsync();
    }

    [Test]
    public async Task Generate_LargerThanThePool_IsRefusedWithBothNumbers()
    {
        var pool = Generator.Model.KvLayout.BlockTokens * _worker.Status().BlocksTotal;
        var refusal = await Assert.ThrowsAsync<PromptTooLongException>(
            () => ListAsync(Request(Document(pool), 10), CancellationToken.None));

        Assert.That((refusal!.Tokens, refusal.TokensMax), Is.EqualTo((pool + 10, pool)));
    }

    [Test]
    public async Task Generate_MoreThanMayWait_IsRefusedWithTheLimit()
    {
        using var cancellation = new CancellationTokenSource();
        var waiting = Enumerable.Range(0, 4)
            .Select(i => ListAsync(Request([i, .. Document(2000)], 5000), cancellation.Token)).ToList();

        var refused = await Task.WhenAny(waiting);
        await cancellation.CancelAsync();
        await Task.WhenAll(waiting).ContinueWith(_ => { }, TaskScheduler.Default);
        await IdleAsync();

        Assert.That(refused.Exception?.InnerException, Is.InstanceOf<QueueFullException>());
        Assert.That(((QueueFullException)refused.Exception!.InnerException!).WaitingMax, Is.EqualTo(1));
    }

    [Test]
    public async Task Generate_TokenOutsideTheVocabulary_IsRefusedByName() =>
        Assert.That(
            (await Assert.ThrowsAsync<ArgumentException>(
                () => ListAsync(Request([5000], 1), CancellationToken.None)))!.Message,
            Does.Contain("token 5000"));

    private static GenerationRequest Request(int[] prompt, int maxNewTokens) => new()
    {
        RequestId = "r",
        PromptTokens = prompt,
        MaxNewTokens = maxNewTokens,
        StopTokens = [EndOfMessage],
        ReportProgress = true,
    };

    private static int[] Tokens(string text) => [.. Encoding.UTF8.GetBytes(text).Select(b => (int)b)];

    private static int[] Document(int tokens)
    {
        var random = new Random(5);
        return [.. Enumerable.Range(0, tokens).Select(_ => random.Next('a', 'z'))];
    }

    private async Task<List<GenerationEvent>> ListAsync(GenerationRequest request, CancellationToken cancellation)
    {
        var list = new List<GenerationEvent>();
        await foreach (var next in Generator.GenerateAsync(request, cancellation))
        {
            list.Add(next);
        }

        return list;
    }

    private double ComputedTokens() =>
        _worker.Status().Metrics.Single(metric => metric.Name == "prefill_tokens_computed_total").Value;

    private async Task IdleAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (_worker.Status() is not { Waiting: 0, Running: 0, BlocksHeld: 0 })
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }
}
