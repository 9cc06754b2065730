using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

[TestFixture]
internal sealed class PreemptionTests
{
    [Test]
    public void Step_PoolTooSmallForBothOutputs_TheYoungerWaitsAndBothComeOutRight()
    {
        // Arrange: each needs 2 blocks at first and 7 at the end, of 8.
        var run = new EngineRun(8);
        var older = run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90));

        // Act
        run.RunUntilIdle();

        // Assert
        older.AssertAsAlone();
        younger.AssertAsAlone();
        Assert.That(run.Counters.Preemptions, Is.GreaterThan(0));
        Assert.That(run.Counters.ReplayedTokens, Is.GreaterThan(0));
        Assert.That(run.Counters.GeneratedTokens, Is.EqualTo(180), "nothing is generated twice");
    }

    [Test]
    public void Step_RunningSequenceWillNeedABlock_NobodyIsAdmittedIntoIt()
    {
        var run = new EngineRun(8);
        var first = run.Submit(Request(Prompt(1, 20), 10));
        run.Step();
        var second = run.Submit(Request(Prompt(2, 90), 6));
        run.Step();
        Assert.That(run.Engine.Status().Waiting, Is.EqualTo(1), "six blocks are left, one of them for the first");

        run.RunUntilIdle();
        Assert.That(run.Counters.Preemptions, Is.Zero);
        first.AssertAsAlone();
        second.AssertAsAlone();
    }

    [Test]
    public void Step_PreemptedSequence_IsPrefilledThenDecodedAgainWithoutDrawing()
    {
        // Arrange
        var run = new EngineRun(8);
        run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90));
        run.StepUntil(() => run.Counters.Preemptions > 0);
        var drawn = younger.Tokens.Count;
        var from = run.Model.Steps.Count;

        // Act
        run.RunUntilIdle();

        // Assert: 16 cached tokens of the prompt, 4 computed, then every drawn token once more, the last with a draw.
        var slices = run.Model.Steps.Skip(from).SelectMany(s => s.Split(' '));
        var own = slices.Where(s => s.StartsWith("2:", StringComparison.Ordinal));
        Assert.That(own.Take(drawn + 1), Is.EqualTo(
            Enumerable.Range(20, drawn).Select(p => $"2:D{p}+1" + (p == 19 + drawn ? "!" : "")).Prepend("2:P16+4")));
        Assert.That(younger.CachedTokens, Is.Zero, "its prompt was computed once");
    }

    [Test]
    public void Step_PreemptedWhilePrefilling_StartsAgainFromItsPublishedBlocks()
    {
        // Arrange: the older one needs two more blocks, one of them kept for it, during the younger one's 32 chunks.
        var run = new EngineRun(35, new EngineOptions { PrefillChunkTokens = 16, SettleGeneratedBlocks = false });
        var older = run.Submit(Request(Prompt(1, 15), 80));
        run.StepUntil(() => older.Tokens.Count == 15);
        var younger = run.Submit(Request(Prompt(2, 500), 16));

        // Act
        run.StepUntil(() => run.Counters.Preemptions > 0);
        Assert.That(younger.CachedTokens, Is.EqualTo(-1), "it is not through its prompt");
        run.RunUntilIdle();

        // Assert
        older.AssertAsAlone();
        younger.AssertAsAlone();
        Assert.That(run.Counters.PrefillTokensComputed, Is.LessThan(15 + 500 + 300), "not all was computed twice");
    }

    [Test]
    public void Step_AloneAndTheRestIsBeingSaved_WaitsForTheSaveInsteadOfStartingAgain()
    {
        // Arrange: two of eight blocks are being saved, and the second request needs seven.
        var run = new EngineRun(8, new EngineOptions { SettleGeneratedBlocks = false }, store: true);
        run.Store.Holds = true;
        var first = run.Submit(Request(Prompt(1, 96), 1));
        run.StepUntil(() => first.Reason is not null);
        var second = run.Submit(Request(Prompt(2, 20), 80));

        // Act
        run.StepUntil(() => second.Tokens.Count == 77);
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        run.Store.Holds = false;
        run.RunUntilIdle();

        // Assert
        second.AssertAsAlone();
        Assert.That(run.Counters.Preemptions, Is.Zero);
    }

    [Test]
    public void Cancel_WhilePreempted_LeavesTheQueueCountRight()
    {
        var run = new EngineRun(8, new EngineOptions { WaitingSequencesMax = 1 });
        var older = run.Submit(Request(Prompt(1, 20), 90));
        run.Step();
        var younger = run.Submit(Request(Prompt(2, 20), 90));
        run.StepUntil(() => run.Counters.Preemptions > 0);

        var third = run.Submit(Request(Prompt(3, 20), 10));
        Assert.That(
            run.Engine.Submit(Request(Prompt(4, 20), 10), default).Reason,
            Is.EqualTo(AdmissionReason.QueueFull),
            "the preempted one has a place of its own");
        run.Cancel(younger);
        run.Cancel(third);
        var fourth = run.Submit(Request(Prompt(4, 20), 10));
        Assert.That(
            run.Engine.Submit(Request(Prompt(5, 20), 10), default).Reason,
            Is.EqualTo(AdmissionReason.QueueFull),
            "the place of the preempted one went with it");
        run.RunUntilIdle();

        older.AssertAsAlone();
        fourth.AssertAsAlone();
    }

    [Test]
    public void Step_PromptOfWholeBlocksAgainInAPoolJustLargeEnough_IsNotStarvedByItsOwnCopy()
    {
        // Arrange: the second run computes its last prompt block again, although the pool holds it already.
        var run = new EngineRun(5, new EngineOptions { SettleGeneratedBlocks = false });
        run.Run(Request(Prompt(1, 4 * BlockTokens), BlockTokens));

        // Act, Assert
        run.Run(Request(Prompt(1, 4 * BlockTokens), BlockTokens));
    }
}
