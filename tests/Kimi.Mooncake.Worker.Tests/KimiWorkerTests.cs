using System.Diagnostics;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Worker.Tests;

[TestFixture]
internal sealed class KimiWorkerTests
{
    private const string Fact = "The passcode of Aurora is 7319-KESTREL.";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private static int[] Question(string document) =>
    [
        259, .. WorkerSession.TokensOf("user"), 270,
        .. WorkerSession.TokensOf($"{document}\nComplete this sentence from the document:\nThe passcode of Aurora is"),
        258, 260, .. WorkerSession.TokensOf("assistant"), 270,
    ];

    [Test]
    public async Task Ask_AboutADocument_AnswersFromIt()
    {
        await using var session = new WorkerSession();

        var answer = await session.AskAsync(Question(WorkerSession.Document(2000, 7, Fact)), maxNewTokens: 100);

        Assert.That(WorkerSession.TextOf(answer.Tokens), Is.EqualTo(Fact));
        Assert.That(answer.Reason, Is.EqualTo(FinishReason.Stop));
    }

    [Test]
    public async Task Cancel_DuringALongPrefill_ReleasesEveryBlockSoon()
    {
        await using var session = new WorkerSession(chunkTokens: 4096, poolBytes: 128 << 20);
        var prompt = WorkerSession.TokensOf(WorkerSession.Document(40_000, 8, Fact));
        using var cancellation = new CancellationTokenSource();
        var request = new GenerationRequest
        {
            RequestId = "long",
            PromptTokens = prompt,
            MaxNewTokens = 10,
            ReportProgress = true,
        };
        var sinceCancel = new Stopwatch();

        await Assert.CatchAsync<OperationCanceledException>(async () =>
        {
            await foreach (var next in session.Worker.GenerateAsync(request, cancellation.Token))
            {
                if (next is PrefillProgressed { ProcessedTokens: > 4096 })
                {
                    sinceCancel.Start();
                    await cancellation.CancelAsync();
                }
            }
        });
        await session.IdleAsync(new CancellationTokenSource(Patience).Token);
        sinceCancel.Stop();

        var status = session.Worker.Status();
        Assert.Multiple(() =>
        {
            Assert.That(sinceCancel.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)));
            Assert.That(
                status.Metrics.Single(metric => metric.Name == "prefill_tokens_computed_total").Value,
                Is.LessThan(prompt.Length), "computed to its end");
            Assert.That(status.BlocksHeld, Is.Zero);
            Assert.That(status.BlocksFree + status.BlocksCached, Is.EqualTo(status.BlocksTotal));
        });
    }

    [Test]
    public async Task Reader_LeavingTheStreamEarly_ReleasesEveryBlock()
    {
        await using var session = new WorkerSession();
        var request = new GenerationRequest
        {
            RequestId = "left",
            PromptTokens = WorkerSession.TokensOf(WorkerSession.Document(700, 9, Fact)),
            MaxNewTokens = 5000,
        };

        await foreach (var next in session.Worker.GenerateAsync(request, CancellationToken.None))
        {
            if (next is TokenGenerated)
            {
                break;
            }
        }

        await session.IdleAsync(new CancellationTokenSource(Patience).Token);
        Assert.That(session.Worker.Status().BlocksHeld, Is.Zero);
    }

    [Test]
    public async Task Reader_LeavingTheStreamAfterTheWorkerIsGone_LeavesQuietly()
    {
        var session = new WorkerSession();
        var request = new GenerationRequest
        {
            RequestId = "late",
            PromptTokens = WorkerSession.TokensOf(WorkerSession.Document(100, 9, Fact)),
            MaxNewTokens = 50,
        };
        var reader = session.Worker.GenerateAsync(request, CancellationToken.None).GetAsyncEnumerator();
        Assert.That(await reader.MoveNextAsync(), Is.True);

        await session.DisposeAsync();

        Assert.That(async () => await reader.DisposeAsync(), Throws.Nothing);
    }

    [Test]
    public async Task Cancel_WhileOthersShareThePrefix_LeavesTheirAnswersRight()
    {
        await using var session = new WorkerSession(chunkTokens: 256);
        var prompt = Question(WorkerSession.Document(3000, 10, Fact));
        using var cancellation = new CancellationTokenSource();
        var request = new GenerationRequest
        {
            RequestId = "first",
            PromptTokens = prompt,
            MaxNewTokens = 100,
            ReportProgress = true,
        };
        Task<WorkerAnswer>? other = null;

        await Assert.CatchAsync<OperationCanceledException>(async () =>
        {
            await foreach (var next in session.Worker.GenerateAsync(request, cancellation.Token))
            {
                if (next is PrefillProgressed { ProcessedTokens: > 512 } && other is null)
                {
                    other = session.AskAsync(prompt, maxNewTokens: 100);
                    await cancellation.CancelAsync();
                }
            }
        });
        var answer = await other!;

        Assert.That(WorkerSession.TextOf(answer.Tokens), Is.EqualTo(Fact));
    }

    [Test]
    public async Task Sampling_ThatCannotDraw_FailsItsOwnRequestOnly()
    {
        await using var session = new WorkerSession();
        var prompt = Question(WorkerSession.Document(3000, 13, Fact));
        var bad = SamplingParameters.Greedy with { LogitBias = [new KeyValuePair<int, float>(5, float.NaN)] };

        var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(i =>
            session.AskAsync(prompt, maxNewTokens: 100, sampling: i % 2 == 0 ? bad : null)));

        Assert.That(
            answers.Select(answer => answer.Reason),
            Is.EqualTo(new[] { FinishReason.Failed, FinishReason.Stop, FinishReason.Failed, FinishReason.Stop }));
    }

    [Test]
    public async Task Submit_MoreThanMayWait_IsRefusedWithTheLimit()
    {
        await using var session = new WorkerSession(
            engine: new EngineOptions { RunningSequencesMax = 1, WaitingSequencesMax = 1 });
        using var cancellation = new CancellationTokenSource();

        var running = Enumerable.Range(0, 8)
            .Select(seed => session.AskAsync(
                WorkerSession.TokensOf(WorkerSession.Document(3000, 20 + seed, Fact)),
                maxNewTokens: 400,
                cancellation: cancellation.Token))
            .ToArray();
        await Task.WhenAny(Task.WhenAll(running), FirstRefused(running));
        await cancellation.CancelAsync();
        var refused = running.Count(task => task.Exception?.InnerException is QueueFullException);

        Assert.That(refused, Is.GreaterThanOrEqualTo(6));
    }

    [Test]
    public async Task Submit_LargerThanThePool_IsRefusedWithBothNumbers()
    {
        await using var session = new WorkerSession(poolBytes: 10 * 147_456);

        var refusal = await Assert.ThrowsAsync<PromptTooLongException>(
            () => session.AskAsync(WorkerSession.TokensOf(WorkerSession.Document(700, 11, "")), 8));

        Assert.That(refusal!.Tokens, Is.EqualTo(708));
        Assert.That(refusal.TokensMax, Is.EqualTo(640));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public async Task Restart_OnADamagedStore_GivesTheSameBitsAndTheRightAnswer(int seed)
    {
        using var folder = new TemporaryFolder();
        var prompt = Question(WorkerSession.Document(3000, 12, Fact));
        WorkerAnswer cold, again;
        await using (var session = new WorkerSession(folder.Path))
        {
            cold = await session.AskAsync(prompt, 100);
            await session.IdleAsync(new CancellationTokenSource(Patience).Token);
        }

        Damage(folder.Path, new Random(seed));
        await using (var session = new WorkerSession(folder.Path))
        {
            again = await session.AskAsync(prompt, 100);
        }

        Assert.That(WorkerSession.TextOf(again.Tokens), Is.EqualTo(Fact), $"seed {seed}");
        Assert.That(again.PromptLogits, Is.EqualTo(cold.PromptLogits), $"seed {seed}");
    }

    private static async Task FirstRefused(Task[] tasks)
    {
        var left = tasks.ToList();
        for (var refused = 0; refused < 6 && left.Count > 0;)
        {
            var done = await Task.WhenAny(left);
            left.Remove(done);
            refused += done.IsFaulted ? 1 : 0;
        }
    }

    private static void Damage(string folder, Random random)
    {
        foreach (var path in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
        {
            var bytes = File.ReadAllBytes(path);
            if (bytes.Length == 0)
            {
                continue;
            }

            for (var i = 0; i < 20; i++)
            {
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            }

            File.WriteAllBytes(path, random.Next(3) switch
            {
                0 => bytes,
                1 => bytes[..random.Next(bytes.Length)],
                _ => random.Next(2) == 0 ? [] : bytes,
            });
        }
    }
}
