using System.Runtime.InteropServices;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Worker.Tests.Peers;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>
/// What one worker generates after a prompt that another one computed is, bit for bit in the logits, what a single
/// worker generates.
/// </summary>
[TestFixture]
internal sealed class HandOverTests
{
    private const int BlockTokens = KvLayout.BlockTokensDefault;

    private static int[] Prompt(int length, int seed) =>
        WorkerSession.TokensOf(WorkerSession.Document(length, seed, "The passcode of Aurora is 7319-KESTREL."));

    [TestCase(true, 256, "f32")]
    [TestCase(false, 256, "bf16")]
    [TestCase(true, 100, "q8")]
    [TestCase(false, 16, "f32")]
    public async Task Generate_AfterAPrefillElsewhere_IsBitEqualToOneWorker(
        bool sharedMemory, int chunkTokens, string kvType)
    {
        var plan = new NodePlan { SharedMemory = sharedMemory, KvType = kvType };
        await using var single = await WorkerNode.StartAsync(plan);
        await using var prefill = await WorkerNode.StartAsync(plan with { ChunkTokens = chunkTokens });
        await using var decode = await WorkerNode.StartAsync(plan);
        var random = new Random(chunkTokens);
        int[] lengths =
        [
            1, BlockTokens - 1, BlockTokens, BlockTokens + 1, (5 * BlockTokens) - 1, 5 * BlockTokens,
            (5 * BlockTokens) + 1, .. Enumerable.Range(0, 6).Select(_ => random.Next(2, 1500)),
        ];
        foreach (var (index, length) in lengths.Index())
        {
            var prompt = Prompt(length, 100 + index);
            var expected = await single.AskAsync(WorkerNode.Request(prompt));

            var actual = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));

            var what = $"{length} tokens, document {100 + index}";
            Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens), what);
            Assert.That(actual.Reason, Is.EqualTo(expected.Reason), what);
            Assert.That(actual.CachedTokens, Is.Zero, what);
            RequireSameLogits(single, prefill, prompt, length, what);
            for (var i = 1; i < expected.Tokens.Count; i++)
            {
                RequireSameLogits(single, decode, prompt, length + i, what);
            }
        }

        Assert.That(decode.Metric("prefill_tokens_computed_total"), Is.Zero);
        Assert.That(decode.Metric("imported_tokens_total"), Is.EqualTo(lengths.Sum()));
        Assert.That(prefill.Metric("prefill_tokens_computed_total"), Is.EqualTo(lengths.Sum()));
        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_AfterAPrefillWithAnotherKvType_IsRefusedWithBothLayouts()
    {
        await using var prefill = await WorkerNode.StartAsync(new NodePlan { KvType = "bf16" });
        await using var decode = await WorkerNode.StartAsync(new NodePlan { KvType = "f32" });

        var fault = await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(Prompt(100, 1), prefill.Address)));

        Assert.That(fault!.Message, Does.Contain(prefill.Worker.Model.KvLayout.Describe()));
        Assert.That(fault.Message, Does.Contain(decode.Worker.Model.KvLayout.Describe()));
        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_WithCachedPrefixesOnEitherSide_SendsWhatIsMissingAndIsBitEqual()
    {
        var plan = new NodePlan { Engine = new EngineOptions { SettleGeneratedBlocks = false } };
        await using var single = await WorkerNode.StartAsync();
        await using var prefill = await WorkerNode.StartAsync(plan);
        await using var decode = await WorkerNode.StartAsync(plan);
        var random = new Random(5);
        for (var round = 0; round < 12; round++)
        {
            var prompt = Prompt(random.Next(600, 1200), round);
            var (atPrefill, atDecode) = (random.Next(1, prompt.Length), random.Next(1, prompt.Length));
            await prefill.AskAsync(WorkerNode.Request(prompt[..atPrefill], maxNewTokens: 1));
            await decode.AskAsync(WorkerNode.Request(prompt[..atDecode], maxNewTokens: 1));
            var expected = await single.AskAsync(WorkerNode.Request(prompt));
            var before = (Computed: Computed(prefill), Imported: decode.Metric("imported_tokens_total"),
                Bytes: prefill.Metric("handover_sent_bytes_total"), Here: Computed(decode));

            var actual = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));

            var what = $"seed 5, round {round}: {prompt.Length} tokens, {atPrefill} at prefill, {atDecode} at decode";
            var imported = prompt.Length - WholeBlocks(atDecode);
            var tokenBytes = decode.Worker.Model.KvLayout.BytesPerToken;
            Assert.Multiple(() =>
            {
                Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens), what);
                Assert.That(actual.CachedTokens, Is.EqualTo(WholeBlocks(atPrefill)), what);
                Assert.That(
                    Computed(prefill) - before.Computed, Is.EqualTo(prompt.Length - WholeBlocks(atPrefill)), what);
                Assert.That(Computed(decode) - before.Here, Is.Zero, what);
                Assert.That(decode.Metric("imported_tokens_total") - before.Imported, Is.EqualTo(imported), what);
                Assert.That(
                    prefill.Metric("handover_sent_bytes_total") - before.Bytes, Is.EqualTo(imported * tokenBytes),
                    what);
            });
            RequireSameLogits(single, decode, prompt, prompt.Length + 1, what);
        }

        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_OfTheSamePromptAgain_FindsItsBlocksOnBothSides()
    {
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt((8 * BlockTokens) + 10, 1);
        var first = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));

        var again = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));
        var here = await decode.AskAsync(WorkerNode.Request(prompt));

        Assert.That(again.Tokens, Is.EqualTo(first.Tokens));
        Assert.That(here.Tokens, Is.EqualTo(first.Tokens));
        Assert.That(again.CachedTokens, Is.EqualTo(8 * BlockTokens));
        Assert.That(here.CachedTokens, Is.EqualTo(8 * BlockTokens));
        Assert.That(Computed(prefill), Is.EqualTo(prompt.Length + 10));
        Assert.That(decode.Metric("imported_tokens_total"), Is.EqualTo(prompt.Length + 10));
    }

    [Test]
    public async Task Generate_WithTokensGeneratedBefore_GoesOnWhereItWas([Values(1, 3, 7)] int sent)
    {
        await using var single = await WorkerNode.StartAsync();
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(700, 3);
        var sampling = new SamplingParameters { Temperature = 0.9f, Seed = 11 };
        var request = WorkerNode.Request(prompt, maxNewTokens: 24) with { Sampling = sampling };
        var expected = await single.AskAsync(request);

        var resumed = await decode.AskAsync(request with
        {
            PrefillAddress = prefill.Address,
            GeneratedTokens = expected.Tokens[..sent],
        });

        Assert.That(expected.Tokens, Has.Count.GreaterThan(sent));
        Assert.That(resumed.Tokens, Is.EqualTo(expected.Tokens[sent..]));
        Assert.That(resumed.Reason, Is.EqualTo(expected.Reason));
        RequireSameLogits(single, decode, prompt, prompt.Length + sent, "the first new token");
        await prefill.RequireEmptyAsync("prefill");
    }

    [Test]
    public async Task Generate_ThatEndsWithItsFirstToken_EndsTheSameWay()
    {
        await using var single = await WorkerNode.StartAsync();
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(300, 4);
        var first = (await single.AskAsync(WorkerNode.Request(prompt, maxNewTokens: 1))).Tokens[0];

        var byLimit = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address, maxNewTokens: 1));
        var byStop = await decode.AskAsync(
            WorkerNode.Request(prompt, prefill.Address) with { StopTokens = [first] });

        Assert.That(byLimit.Tokens, Is.EqualTo([first]));
        Assert.That(byLimit.Reason, Is.EqualTo(FinishReason.Length));
        Assert.That(byStop.Tokens, Is.Empty);
        Assert.That(byStop.Reason, Is.EqualTo(FinishReason.Stop));
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_FiftyTimesAtOnce_ComputesTheDocumentOnce()
    {
        const int Requests = 50;
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt((30 * BlockTokens) + 5, 8);

        var answers = await Task.WhenAll(Enumerable.Range(0, Requests)
            .Select(_ => Task.Run(() => decode.AskAsync(WorkerNode.Request(prompt, prefill.Address)))));

        Assert.That(answers.Select(answer => string.Join(' ', answer.Tokens)).Distinct().Count(), Is.EqualTo(1));
        Assert.That(Computed(prefill), Is.EqualTo(prompt.Length + ((Requests - 1) * 5)));
        Assert.That(decode.Metric("imported_tokens_total"), Is.EqualTo(prompt.Length + ((Requests - 1) * 5)));
        Assert.That(answers.Count(answer => answer.CachedTokens == 0), Is.EqualTo(1));
        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_WhenThisWorkerIsTheOneToPrefill_DoesItHere()
    {
        await using var node = await WorkerNode.StartAsync();
        var prompt = Prompt(200, 2);

        var answer = await node.AskAsync(WorkerNode.Request(prompt, node.Address));

        Assert.That(answer.Tokens, Is.Not.Empty);
        Assert.That(Computed(node), Is.EqualTo(prompt.Length));
        Assert.That(node.Metric("imported_tokens_total"), Is.Zero);
    }

    [Test]
    public async Task Generate_WithTenantAndRetention_BothReachTheStoresOfBothWorkers()
    {
        // Arrange
        using var folders = new TemporaryFolder();
        var clock = new TestClock();
        await using var prefill = await WorkerNode.StartAsync(
            new NodePlan { StoreFolder = Path.Combine(folders.Path, "prefill"), StoreTime = clock });
        await using var decode = await WorkerNode.StartAsync(
            new NodePlan { StoreFolder = Path.Combine(folders.Path, "decode"), StoreTime = clock });
        var minute = new BlockRetention(LifetimeSeconds: 60);
        var request = WorkerNode.Request(Prompt(4 * BlockTokens, 8), prefill.Address, maxNewTokens: 1) with
        {
            Tenant = "acme",
            Retain = [new RetainedPrefix(4 * BlockTokens, minute, BlockClass.Context)],
        };

        // Act
        await decode.AskAsync(request);

        // Assert
        foreach (var node in new[] { prefill, decode })
        {
            await WorkerNode.UntilAsync(
                () => node.Store!.Tenants() is [{ Name: "acme", Blocks: 4 }], "the blocks are stored for acme");
        }

        foreach (var (seconds, stored) in new[] { (59, true), (2, false) })
        {
            clock.Advance(TimeSpan.FromSeconds(seconds));
            Assert.That(prefill.StoredBlocks(request), Is.All.EqualTo(stored), $"after {seconds} s more");
            Assert.That(decode.StoredBlocks(request), Is.All.EqualTo(stored), $"after {seconds} s more");
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Generate_PromptIsCached_SaysWhatThatSavedTheWorkerThatPrefills(bool elsewhere)
    {
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var request = WorkerNode.Request(
            Prompt((10 * BlockTokens) + 5, 8), elsewhere ? prefill.Address : "", maxNewTokens: 1);

        var cold = await decode.AskAsync(request);
        var warm = await decode.AskAsync(request);

        var times = (elsewhere ? prefill : decode).Worker.Runner.Times;
        Assert.That((cold.CachedTokens, cold.SecondsSaved), Is.EqualTo((0, 0.0)));
        Assert.That(warm.CachedTokens, Is.EqualTo(10 * BlockTokens));
        Assert.That(warm.SecondsSaved, Is.GreaterThan(0));
        Assert.That(
            times.PrefillSecondsSaved(request.PromptTokens.Count, 5 * BlockTokens),
            Is.GreaterThan(0).And.LessThan(
                times.PrefillSecondsSaved(request.PromptTokens.Count, 10 * BlockTokens)));
        Assert.That(times.PrefillSecondsSaved(request.PromptTokens.Count, 0), Is.Zero);
    }

    [Test]
    public async Task Generate_WithoutOverlap_IsTheSame()
    {
        await using var single = await WorkerNode.StartAsync();
        await using var prefill = await WorkerNode.StartAsync(
            new NodePlan { HandOver = new HandOverOptions { Overlap = false } });
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(900, 6);
        await prefill.AskAsync(WorkerNode.Request(prompt[..300], maxNewTokens: 1));
        var expected = await single.AskAsync(WorkerNode.Request(prompt));

        var actual = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));

        Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens));
    }

    [Test]
    public async Task Generate_WhileTwoWorkersPrefillForEachOther_IsBitEqualForEach()
    {
        await using var single = await WorkerNode.StartAsync();
        await using var first = await WorkerNode.StartAsync(new NodePlan { ChunkTokens = 96, PoolBytes = 256 << 20 });
        await using var second = await WorkerNode.StartAsync(
            new NodePlan { SharedMemory = false, PoolBytes = 256 << 20 });
        var random = new Random(12);
        var requests = Enumerable.Range(0, 40).Select(index => (
            Node: random.Next(2) == 0 ? first : second,
            Prompt: Prompt(random.Next(20, 900), random.Next(6)),
            Prefill: random.Next(4) == 0 ? "" : random.Next(2) == 0 ? first.Address : second.Address)).ToArray();
        var expected = new List<NodeAnswer>();
        foreach (var request in requests)
        {
            expected.Add(await single.AskAsync(WorkerNode.Request(request.Prompt)));
        }

        var actual = await Task.WhenAll(requests.Select(request => Task.Run(
            () => request.Node.AskAsync(WorkerNode.Request(request.Prompt, request.Prefill)))));

        for (var i = 0; i < requests.Length; i++)
        {
            Assert.That(actual[i].Tokens, Is.EqualTo(expected[i].Tokens), $"seed 12, request {i}");
        }

        await first.RequireEmptyAsync("first");
        await second.RequireEmptyAsync("second");
    }

    private static double Computed(WorkerNode node) => node.Metric("prefill_tokens_computed_total");

    private static int WholeBlocks(int tokens) => tokens / BlockTokens * BlockTokens;

    private static void RequireSameLogits(
        WorkerNode expected, WorkerNode actual, int[] prompt, int position, string what)
    {
        var (left, right) = (expected.Logits(prompt, position), actual.Logits(prompt, position));
        Assert.That(left, Is.Not.Null, what);
        Assert.That(right, Is.Not.Null, what);
        Assert.That(
            MemoryMarshal.AsBytes(left.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(right.AsSpan())),
            $"{what}: the logits at position {position} differ");
    }
}
