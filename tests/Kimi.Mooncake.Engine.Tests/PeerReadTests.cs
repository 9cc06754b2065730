using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>What peers learn of the cached blocks, and how they are kept while peers read them; draining.</summary>
[TestFixture]
internal sealed class PeerReadTests
{
    [Test]
    public void HoldPublished_SomeKeysAreThere_HoldsTheLeadingOnes()
    {
        // Arrange
        var run = new EngineRun(8, new EngineOptions { SettleGeneratedBlocks = false });
        run.Run(Request(Prompt(1, 70), 1));
        var keys = Keys(Prompt(1, 70).Take(64).Concat(Prompt(2, 40)));
        var blockIds = new int[keys.Length];

        // Act
        Assert.That(run.Engine.HoldPublished(keys, blockIds), Is.EqualTo(4));
        var tail = new int[2];
        Assert.That(run.Engine.HoldPublished(keys.AsSpan(2, 2), tail), Is.EqualTo(2), "from the middle on too");

        // Assert
        Assert.That(tail, Is.EqualTo(blockIds[2..4]));
        run.Engine.CheckIntegrity();
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(4));
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.Idle), "peers keep nobody busy");
        run.Engine.ReleaseHeld(blockIds.AsSpan(0, 4));
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(4), "held twice, the last of them");
        run.Engine.ReleaseHeld(tail);
        run.RunUntilIdle();
        Assert.That(() => run.Engine.ReleaseHeld(tail), Throws.InvalidOperationException);
    }

    [Test]
    public void HoldPublished_MemoryIsShort_TheBlocksStayWhatTheyAre()
    {
        var run = new EngineRun(8, new EngineOptions { SettleGeneratedBlocks = false });
        run.Run(Request(Prompt(1, 64), 1));
        var blockIds = new int[4];
        run.Engine.HoldPublished(Keys(Prompt(1, 64)), blockIds);
        var before = blockIds.SelectMany(id => run.Model.Block(id).ToArray()).ToArray();

        var large = run.Submit(Request(Prompt(2, 100), 5));
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        var small = run.Submit(Request(Prompt(3, 10), 5) with { Tenant = "other" });
        run.Step();
        Assert.That((large.CachedTokens, small.CachedTokens), Is.EqualTo((-1, -1)), "the large one has its turn first");
        Assert.That(blockIds.SelectMany(id => run.Model.Block(id).ToArray()), Is.EqualTo(before));
        run.Engine.ReleaseHeld(blockIds);
        run.RunUntilIdle();
        large.AssertAsAlone();
    }

    [Test]
    public void KvEvents_NotAskedFor_AreNotRecorded()
    {
        var model = new SimulatedModel(Layout, 8);
        var engine = new EngineCore(new EngineOptions(), Layout, "model", 8, model, null);
        engine.Submit(Request(Prompt(1, 64), 1), default);
        engine.Step(default);
        Assert.That(engine.Status().BlocksCached, Is.GreaterThan(0));
        Assert.That(engine.KvEvents.Length, Is.Zero);
    }

    [Test]
    public void BeginDrain_WorkIsLeft_FinishesItAndTakesNothingNew()
    {
        // Arrange
        var run = new EngineRun(32, new EngineOptions { RunningSequencesMax = 2 }, store: true);
        var running = run.Submit(Request(Prompt(1, 20), 30));
        var exported = run.Submit(Request(Prompt(2, 20), 30), SequenceMode.PrefillOnly);
        var waiting = run.Submit(Request(Prompt(3, 20), 30));
        run.Step();

        // Act
        run.Engine.BeginDrain();
        var refused = run.Engine.Submit(Request(Prompt(4, 20), 30), default);

        // Assert
        Assert.That(refused, Is.EqualTo(new AdmissionResult(AdmissionReason.Draining, 0, 0, 0)));
        Assert.That(run.Counters.RequestsRefusedDraining, Is.EqualTo(1));
        Assert.That((run.Engine.IsDrained, run.Engine.Status().Draining), Is.EqualTo((false, true)));
        run.StepUntil(() => run.Step() == StepOutcome.WaitsForTransfers);
        Assert.That(run.Engine.IsDrained, Is.False, "the export is held");
        run.ReleaseExport(exported);
        run.RunUntilIdle();
        running.AssertAsAlone();
        waiting.AssertAsAlone();
        Assert.That(run.Engine.IsDrained, Is.True);
    }

    [Test]
    public void IsDrained_PeersRead_IsFalse()
    {
        var run = new EngineRun(8);
        run.Run(Request(Prompt(1, 64), 1));
        var blockIds = new int[4];
        run.Engine.HoldPublished(Keys(Prompt(1, 64)), blockIds);
        run.Engine.BeginDrain();
        Assert.That(run.Engine.IsDrained, Is.False);
        run.Engine.ReleaseHeld(blockIds);
        Assert.That(run.Engine.IsDrained, Is.True);
    }

    [Test]
    public void Status_QueuedPrefillTokens_CountsWhatIsStillToBeComputedHere()
    {
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 40, RunningSequencesMax = 2 });
        run.Run(Request(Prompt(1, 64), 1));
        run.Submit(Request(Prompt(1, 100), 5));
        Assert.That(run.Engine.Status().QueuedPrefillTokens, Is.EqualTo(36), "64 are cached");
        run.Submit(Request(Prompt(2, 100), 5));
        run.Submit(Request(Prompt(3, 100), 5), SequenceMode.DecodeOnly);
        Assert.That(run.Engine.Status().QueuedPrefillTokens, Is.EqualTo(136), "another worker computes the third");
        run.Step();
        Assert.That(run.Engine.Status().QueuedPrefillTokens, Is.EqualTo(96));
        run.StepUntil(() => run.Peers.Imports.Count == 1);
        run.CompleteImport(run.Peers.Imports[0]);
        run.RunUntilIdle();
    }
}
