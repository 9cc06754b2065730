using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>Who is asked again, how often, and what is said when nobody is left to ask.</summary>
[TestFixture]
internal sealed class RetryTests
{
    private const int Tokens = 4;

    private SimulatedCluster _cluster = null!;

    [SetUp]
    public async Task StartAsync() => _cluster = await SimulatedCluster.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Prefill_Unavailable_IsTriedWithAnother()
    {
        string? broken = null;
        var decode = new SimulatedWorker
        {
            Admit = request =>
            {
                broken ??= request.PrefillAddress;
                if (request.PrefillAddress == broken)
                {
                    throw new PrefillUnavailableException(broken, "it is on fire");
                }
            },
        };
        await _cluster.AddAsync("d", NodeRoles.Decode, decode);
        await _cluster.AddAsync("p1", NodeRoles.Prefill);
        await _cluster.AddAsync("p2", NodeRoles.Prefill);
        var generator = _cluster.Generator();
        var request = GenerationStream.Request(Tokens, sampled: true);

        var events = await GenerationStream.Start(generator, request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(decode.Requests.Select(r => r.PrefillAddress).Distinct().Count(), Is.EqualTo(2));
        Assert.That(Retries(generator, "prefill_unavailable"), Is.EqualTo(1));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Prefill_OnlyOneAndUnavailable_LetsTheDecodeWorkerPrefill()
    {
        var decode = new SimulatedWorker
        {
            Admit = request =>
            {
                if (request.PrefillAddress.Length > 0)
                {
                    throw new PrefillUnavailableException(request.PrefillAddress, "refused");
                }
            },
        };
        await _cluster.AddAsync("d", NodeRoles.Decode, decode);
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        var request = GenerationStream.Request(Tokens, sampled: false);

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(decode.Requests.Select(r => r.PrefillAddress.Length > 0), Is.EqualTo(new[] { true, false }));
    }

    [TestCase("draining")]
    [TestCase("queue_full")]
    public async Task Worker_ThatTakesNoWork_IsLeftForAnother(string reason)
    {
        var asked = 0;
        var admit = (GenerationRequest _) =>
        {
            if (Interlocked.Increment(ref asked) == 1)
            {
                throw reason == "draining" ? new DrainingException() : new QueueFullException(8, 8);
            }
        };
        var first = await _cluster.AddAsync("d1", NodeRoles.Decode, new SimulatedWorker { Admit = admit });
        var second = await _cluster.AddAsync("d2", NodeRoles.Decode, new SimulatedWorker { Admit = admit });
        var generator = _cluster.Generator();
        var request = GenerationStream.Request(Tokens, sampled: false);

        var events = await GenerationStream.Start(generator, request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That((first.Requests.Count, second.Requests.Count), Is.EqualTo((1, 1)));
        Assert.That(Retries(generator, reason), Is.EqualTo(1));
    }

    [Test]
    public async Task Workers_AllFull_AreABusyCluster()
    {
        var full = new SimulatedWorker { Admit = _ => throw new QueueFullException(8, 8) };
        await _cluster.AddAsync("d1", NodeRoles.Decode, full);

        var fault = await Assert.ThrowsAsync<ClusterBusyException>(
            () => GenerationStream.Start(_cluster.Generator(Quick), GenerationStream.Request(Tokens, sampled: false)));

        Assert.That(fault!.Message, Does.Contain("8 requests are waiting"));
        Assert.That(full.Requests, Has.Count.EqualTo(Quick.AttemptsMax));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Request_ThatFailsEverywhere_EndsAfterItsTries()
    {
        var worker = await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = 0 });

        var fault = await Assert.ThrowsAsync<WorkerUnavailableException>(
            () => GenerationStream.Start(_cluster.Generator(Quick), GenerationStream.Request(Tokens, sampled: false)));

        Assert.That(fault!.Message, Does.Contain("it died").And.Contain("3 times"));
        Assert.That(worker.Requests, Has.Count.EqualTo(3));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Budget_Empty_LeavesTheFirstFailure()
    {
        var worker = await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = 0 });
        var generator = _cluster.Generator(Quick with { BudgetRetriesMax = 1, BudgetPerSuccess = 0.5 });
        var request = GenerationStream.Request(Tokens, sampled: false);

        await Assert.ThatAsync(
            () => GenerationStream.Start(generator, request),
            Throws.InstanceOf<WorkerUnavailableException>().With.Message.Contains("too many requests"));
        Assert.That(worker.Requests, Has.Count.EqualTo(2), "one retry was left");
        worker.DiesAfterTokens = null;
        await GenerationStream.Start(generator, request);
        await GenerationStream.Start(generator, request);
        worker.DiesAfterTokens = 1;
        var events = await GenerationStream.Start(generator, request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(
            Metric(generator, "request_retries_over_budget_total", ""), Is.EqualTo(1));
        await _cluster.AssertEmptyAsync();
    }

    [TestCase(Wire.FinishReason.Cancelled)]
    [TestCase(Wire.FinishReason.Failed)]
    public async Task Worker_ThatGivesUp_IsLeftForAnother(Wire.FinishReason reason)
    {
        var sent = 0;
        var worker = new SimulatedWorker
        {
            Send = e => Interlocked.Increment(ref sent) == 3
                ? [new Wire.GenerateEvent { Finished = new Wire.GenerationFinished { Reason = reason } }]
                : sent > 3 ? [] : [e],
        };
        worker.Admit = request => worker.Send = request.GeneratedTokens.Count > 0 ? e => [e] : worker.Send;
        await _cluster.AddAsync("d1", NodeRoles.Decode, worker);
        var request = GenerationStream.Request(Tokens, sampled: false);

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(worker.Requests[1].GeneratedTokens, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Failure_OfEveryWorker_IsTheLastEvent()
    {
        await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker
        {
            Send = e => e.EventCase == Wire.GenerateEvent.EventOneofCase.PrefillFinished
                ? [e, new() { Finished = new() { Reason = Wire.FinishReason.Failed, Message = "no finite logits" } }]
                : [],
        });

        var events = await GenerationStream.Start(
            _cluster.Generator(Quick), GenerationStream.Request(Tokens, sampled: false));

        Assert.That(events, Has.Count.EqualTo(2));
        Assert.That(events[0], Is.InstanceOf<PrefillFinished>());
        var last = (GenerationFinished)events[1];
        Assert.That((last.Reason, last.Message), Is.EqualTo((FinishReason.Failed, "no finite logits; tried 3 times")));
    }

    [TestCaseSource(nameof(WhatMayNotBeSent))]
    public async Task Worker_SendingWhatItMayNot_ReachesNobody(
        Func<Wire.GenerateEvent, IEnumerable<Wire.GenerateEvent>> send, string words)
    {
        var worker = new SimulatedWorker { Send = send };
        await _cluster.AddAsync("d", NodeRoles.Decode, worker);
        var request = GenerationStream.Request(Tokens, sampled: false);
        var expected = GenerationStream.Undisturbed(request);
        request = request with { StopTokens = [SimulatedWorker.Token(request, 2).TokenId] };
        var seen = new List<GenerationEvent>();

        var fault = await Assert.ThrowsAsync<WorkerUnavailableException>(async () =>
        {
            await foreach (var e in _cluster.Generator(Quick).GenerateAsync(request, CancellationToken.None))
            {
                seen.Add(e);
            }
        });

        Assert.That(fault!.Message, Does.Contain(words));
        Assert.That(GenerationStream.Text(seen), Is.EqualTo(expected.Take(seen.Count)), "a beginning of the right one");
    }

    [Test]
    public async Task Worker_SendingTooManyTokens_IsCutAtTheLimit()
    {
        await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker
        {
            Send = e => e.EventCase == Finished ? [new() { TokenGenerated = new() { TokenId = 1 } }, e] : [e],
        });
        var request = GenerationStream.Request(Tokens, sampled: false);

        var events = await GenerationStream.Start(_cluster.Generator(Quick), request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
    }

    [Test]
    public async Task Request_BeyondItsDeadline_EndsEverywhere()
    {
        var worker = await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker { HangsAfterTokens = 1 });
        var generator = _cluster.Generator(
            options: new RemoteWorkerOptions { StatusIntervalMs = 20, GenerationSecondsMax = 1 });

        await Assert.ThatAsync(
            () => GenerationStream.Start(generator, GenerationStream.Request(Tokens, sampled: false)),
            Throws.InstanceOf<WorkerUnavailableException>().With.Message.Contains("longer than 1 s"));

        Assert.That(worker.Requests, Has.Count.EqualTo(1), "no retry for time that is over");
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Request_ThatNoWorkerCanTake_IsNotTriedAgain()
    {
        var worker = await _cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker
        {
            Admit = _ => throw new PromptTooLongException(900, 640),
        });

        await Assert.ThatAsync(
            () => GenerationStream.Start(_cluster.Generator(), GenerationStream.Request(Tokens, sampled: false)),
            Throws.InstanceOf<PromptTooLongException>());
        Assert.That(worker.Requests, Has.Count.EqualTo(1));
        await _cluster.AssertEmptyAsync();
    }

    private static RetryOptions Quick { get; } = new() { AttemptsMax = 3, DelayMs = 1, DelayMaxMs = 2 };

    private static IEnumerable<TestCaseData> WhatMayNotBeSent()
    {
        yield return Case("NoSuchToken", "token_id", Token, e =>
        [
            new() { TokenGenerated = new() { TokenId = SimulatedNode.VocabularySize } },
        ]);
        yield return Case("TokenBeforeThePrompt", "before the prompt", Prefill, _ =>
        [
            new() { TokenGenerated = new() { TokenId = 1 } },
        ]);
        yield return Case("PromptTwice", "after the prompt", Prefill, e => [e, e]);
        yield return Case("AnotherPrompt", "7 tokens", Prefill, _ =>
        [
            new() { PrefillFinished = new() { PromptTokens = 7 } },
        ]);
        yield return Case("NothingAtTheEnd", "without saying why", Finished, _ => []);
        yield return Case("EventAfterTheEnd", "after the end", Finished, e => [e, e]);

        static TestCaseData Case(
            string name, string words, Wire.GenerateEvent.EventOneofCase at,
            Func<Wire.GenerateEvent, IEnumerable<Wire.GenerateEvent>> instead) =>
            new TestCaseData(
                (Func<Wire.GenerateEvent, IEnumerable<Wire.GenerateEvent>>)(e => e.EventCase == at ? instead(e) : [e]),
                words).SetArgDisplayNames(name);
    }

    private const Wire.GenerateEvent.EventOneofCase Token = Wire.GenerateEvent.EventOneofCase.TokenGenerated;
    private const Wire.GenerateEvent.EventOneofCase Prefill = Wire.GenerateEvent.EventOneofCase.PrefillFinished;
    private const Wire.GenerateEvent.EventOneofCase Finished = Wire.GenerateEvent.EventOneofCase.Finished;

    private static double Retries(ClusterTokenGenerator generator, string reason) =>
        Metric(generator, "request_retries_total", $"reason=\"{reason}\"");

    private static double Metric(ClusterTokenGenerator generator, string name, string labels) =>
        generator.Status().Metrics.Single(metric => metric.Name == name && metric.Labels == labels).Value;
}
