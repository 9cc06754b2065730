using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>A worker fails in the middle of a request; its reader sees one stream.</summary>
[TestFixture]
internal sealed class ResumptionTests
{
    private const int Tokens = 6;

    private SimulatedCluster _cluster = null!;
    private SimulatedWorker[] _workers = [];

    [SetUp]
    public async Task StartAsync() => _cluster = await SimulatedCluster.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Stream_DecodeDiesAtEachPlace_IsAsIfItHadNot([Range(0, Tokens)] int place, [Values] bool sampled)
    {
        await AddTwoOfWhichTheFirstUsedDiesAsync(place);
        var request = Request(sampled);

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        // With all tokens there nobody need be asked for the last word.
        int[] given = place < Tokens ? [0, place] : [0];
        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(_workers.SelectMany(w => w.Requests).Select(r => r.GeneratedTokens.Count), Is.EquivalentTo(given));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Stream_ConnectionBreaks_IsAsIfItHadNot([Range(0, Tokens)] int place)
    {
        await AddTwoOfWhichTheFirstUsedDiesAsync(place);
        Array.ForEach(_workers, worker => worker.BreaksConnection = true);
        var request = Request(sampled: true);

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Stream_EveryWorkerDiesOnce_IsAsIfNoneHad()
    {
        for (var i = 0; i < 3; i++)
        {
            await _cluster.AddAsync($"d{i}", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = i + 1 });
        }

        await _cluster.AddAsync("p", NodeRoles.Prefill);
        await _cluster.AddAsync("d4", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = 4 });
        var request = Request(sampled: true);

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Stream_GoesOnElsewhere_TellsTheOtherWorkerTenantAndRetentionToo()
    {
        await AddTwoOfWhichTheFirstUsedDiesAsync(afterTokens: 2);
        RetainedPrefix kept = new(2, new BlockRetention(PinKind.Soft, PinSeconds: 60), BlockClass.Context);
        var request = Request(sampled: false) with { Tenant = "acme", CacheSalt = "salt", Retain = [kept] };

        await GenerationStream.Start(_cluster.Generator(), request);

        var requests = _workers.SelectMany(worker => worker.Requests).ToArray();
        Assert.That(requests, Has.Length.EqualTo(2));
        Assert.That(requests.Select(r => (r.Tenant, r.CacheSalt)), Is.All.EqualTo(("acme", "salt")));
        Assert.That(requests.SelectMany(r => r.Retain), Is.EqualTo(new[] { kept, kept }));
    }

    [Test]
    public async Task Stream_WorkersProcessEnds_GoesOnElsewhere()
    {
        var first = await _cluster.AddAsync("d1", NodeRoles.Decode, new SimulatedWorker { HangsAfterTokens = 2 });
        var generator = _cluster.Generator();
        var request = Request(sampled: false);
        var stream = GenerationStream.Start(generator, request);
        await first.Hanging.Task.WaitAsync(Eventually.Patience);
        var second = await _cluster.AddAsync("d2", NodeRoles.Decode);

        await _cluster.KillAsync("d1");

        Assert.That(GenerationStream.Text(await stream), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(second.Requests.Single().GeneratedTokens, Has.Count.EqualTo(2));
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Stream_StopTokenAfterAResumption_EndsThere()
    {
        var request = Request(sampled: false);
        request = request with { StopTokens = [SimulatedWorker.Token(request, 4).TokenId] };
        await _cluster.AddAsync("d1", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = 3 });
        await _cluster.AddAsync("d2", NodeRoles.Decode, new SimulatedWorker { DiesAfterTokens = 2 });

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        Assert.That(events.OfType<TokenGenerated>().Count(), Is.EqualTo(4));
        Assert.That(events[^1], Is.EqualTo(new GenerationFinished(FinishReason.Stop)));
    }

    [Test]
    public async Task Progress_OverTwoWorkers_OnlyGrows()
    {
        await AddTwoOfWhichTheFirstUsedDiesAsync(afterTokens: 0);
        _workers[0].CachedTokens = 32;
        var request = Request(sampled: false) with { ReportProgress = true };

        var events = await GenerationStream.Start(_cluster.Generator(), request);

        var processed = events.OfType<PrefillProgressed>().Select(p => p.ProcessedTokens).ToArray();
        Assert.That(_workers.Sum(w => w.Requests.Count), Is.EqualTo(2));
        Assert.That(processed, Is.Ordered.Ascending.And.Unique);
        Assert.That(events.Count(e => e is PrefillFinished), Is.EqualTo(1));
    }

    [Test]
    public async Task Stream_ConductorRestarts_GoesOnAndNewRequestsFollow()
    {
        var worker = await _cluster.AddAsync("d1", NodeRoles.Decode, new SimulatedWorker { HangsAfterTokens = 2 });
        var generator = _cluster.Generator(router: _cluster.Remote());
        var request = Request(sampled: false);
        var running = generator.GenerateAsync(request, CancellationToken.None).GetAsyncEnumerator();
        await running.MoveNextAsync();
        await worker.Hanging.Task.WaitAsync(Eventually.Patience);
        worker.HangsAfterTokens = null;

        await _cluster.StopConductorAsync();
        var waiting = GenerationStream.Start(generator, request with { RequestId = "second" });
        await _cluster.StartConductorAsync(_cluster.ConductorAddress.Port);

        Assert.That(GenerationStream.Text(await waiting), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(await running.MoveNextAsync(), "the stream of before goes on");
        Assert.That(worker.Active, Is.EqualTo(1), "it was not begun again");
        await running.DisposeAsync();
        await _cluster.AssertEmptyAsync();
    }

    private async Task AddTwoOfWhichTheFirstUsedDiesAsync(int afterTokens)
    {
        _workers = [new SimulatedWorker(), new SimulatedWorker()];
        for (var i = 0; i < 2; i++)
        {
            var other = _workers[1 - i];
            _workers[i].DiesAfterTokens = afterTokens;
            _workers[i].Admit = _ => other.DiesAfterTokens = null;
            await _cluster.AddAsync($"d{i}", NodeRoles.Decode | NodeRoles.Prefill, _workers[i]);
        }
    }

    private static GenerationRequest Request(bool sampled) => GenerationStream.Request(Tokens, sampled);
}
