using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

[TestFixture]
internal sealed class StoreTests
{
    [Test]
    public void Step_AfterARestart_LoadsThePrefixFromTheStore()
    {
        // Arrange
        var before = new EngineRun(16, store: true);
        var first = before.Run(Request(Prompt(1, 100), 20));
        Assert.That(before.Store.Blocks, Has.Count.EqualTo(7), "6 blocks of the prompt, one of the settled output");

        // Act
        var after = new EngineRun(16, store: true, before: before);
        var again = after.Run(Request(Prompt(1, 100), 20));
        var turn = after.Run(Request(Prompt(1, 100).Concat(first.Tokens), 20));

        // Assert
        Assert.That(again.CachedTokens, Is.EqualTo(96));
        Assert.That(turn.CachedTokens, Is.EqualTo(112));
        Assert.That(after.Counters.BlocksLoaded, Is.GreaterThanOrEqualTo(6));
    }

    [TestCase(0)]
    [TestCase(2)]
    public void Step_FewerBlocksArriveThanPromised_ComputesTheRest(int arriving)
    {
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var after = new EngineRun(16, store: true, before: before);
        after.Store.LoadBlocksMax = arriving;

        var outcome = after.Run(Request(Prompt(1, 100), 5));

        Assert.That(outcome.CachedTokens, Is.EqualTo(16 * arriving));
        var counters = after.Counters;
        Assert.That((counters.BlocksLoaded, counters.BlocksLoadMissed), Is.EqualTo((arriving, 6 - arriving)));
    }

    [Test]
    public void Step_NowhereToSave_SavesWhenThereIs()
    {
        var run = new EngineRun(16, store: true);
        run.Store.CanSave = false;
        run.Run(Request(Prompt(1, 100), 5));
        Assert.That((run.Store.SaveSizes, run.Counters.BlocksSaveDropped), Is.EqualTo((new List<int>(), 0)));
        run.Store.CanSave = true;
        run.Run(Request(Prompt(1, 100), 5));
        Assert.That(run.Counters.BlocksSaved, Is.EqualTo(6), "offered again when it was found");
    }

    [Test]
    public void Step_StoreHangs_HoldsNoMoreThanAQuarterOfThePool()
    {
        var run = new EngineRun(16, new EngineOptions { SettleGeneratedBlocks = false }, store: true);
        run.Store.Holds = true;
        var first = run.Submit(Request(Prompt(1, 10 * BlockTokens), 1));
        run.StepUntil(() => first.Reason is not null);
        Assert.That(run.Engine.Status().SavingBlocks, Is.EqualTo(4));

        var second = run.Submit(Request(Prompt(2, 12 * BlockTokens - 1), 1));
        run.StepUntil(() => second.Reason is not null);

        second.AssertAsAlone();
        run.Store.Holds = false;
        run.RunUntilIdle();
    }

    [Test]
    public void Step_StoreTakesNoMore_ComputesAndSavesLater()
    {
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var run = new EngineRun(16, store: true, before: before);
        run.Store.Refuses = true;
        var outcome = run.Submit(Request(Prompt(1, 100), 5));
        run.StepUntil(() => outcome.Reason is not null);
        Assert.That(outcome.CachedTokens, Is.Zero);
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        Assert.That(run.Engine.Status().BlocksHeld, Is.Zero, "waiting saves hold nothing");

        run.Store.Refuses = false;
        run.RunUntilIdle();
        Assert.That(run.Counters.BlocksSaved, Is.EqualTo(6));
    }

    [Test]
    public void Step_OthersWantWhatIsBeingLoaded_WaitForIt()
    {
        // Arrange
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var run = new EngineRun(32, store: true, before: before);
        run.Store.Holds = true;
        var first = run.Submit(Request(Prompt(1, 100), 5));
        var second = run.Submit(Request(Prompt(1, 100), 5));

        // Act, Assert
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        Assert.That((run.Engine.Status().Loading, run.Engine.Status().Waiting), Is.EqualTo((1, 1)));
        run.Store.Holds = false;
        run.RunUntilIdle();
        Assert.That((first.CachedTokens, second.CachedTokens), Is.EqualTo((96, 96)));
        Assert.That(run.Counters.BlocksLoaded, Is.EqualTo(6));
    }

    [Test]
    public void Cancel_WhileLoading_HoldsTheBlocksUntilTheLoadIsDone()
    {
        // Arrange
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var run = new EngineRun(16, store: true, before: before);
        run.Store.Holds = true;
        var outcome = run.Submit(Request(Prompt(1, 100), 5));
        run.Step();

        // Act
        run.Cancel(outcome);

        // Assert
        Assert.That(outcome.Reason, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(7));
        run.Store.Complete();
        run.RunUntilIdle();
        Assert.That(run.Engine.Status().BlocksCached, Is.EqualTo(6), "what was loaded is kept");
    }

    [Test]
    public void Step_TooManySavesWait_DropsAndCountsThem()
    {
        var options = new EngineOptions { SavesPendingBlocksMax = 4, SettleGeneratedBlocks = false };
        var run = new EngineRun(16, options, store: true);
        run.Store.Refuses = true;
        var outcome = run.Submit(Request(Prompt(1, 100), 5));
        run.StepUntil(() => outcome.Reason is not null);
        Assert.That((run.Engine.Status().SavesPendingBlocks, run.Counters.BlocksSaveDropped), Is.EqualTo((4, 2L)));

        run.Store.Refuses = false;
        run.RunUntilIdle();
        run.Run(Request(Prompt(1, 100), 5));
        Assert.That(run.Counters.BlocksSaved, Is.EqualTo(6), "the next to use the prefix offers it again");
    }

    [Test]
    public void Step_LongPrompt_IsSavedInBatches()
    {
        var options = new EngineOptions { SaveBatchBlocksMax = 4, SettleGeneratedBlocks = false };
        var run = new EngineRun(16, options, store: true);
        run.Run(Request(Prompt(1, 160), 5));
        Assert.That(run.Store.SaveSizes, Is.EqualTo(new[] { 4, 4, 2 }));
        run.Run(Request(Prompt(1, 160), 5));
        Assert.That(run.Store.SaveSizes, Has.Count.EqualTo(3), "what is stored is not saved again");
    }

    [Test]
    public void Step_WaitingSaveIsEvicted_IsDroppedAndCounted()
    {
        var options = new EngineOptions { SettleGeneratedBlocks = false };
        var run = new EngineRun(8, options, store: true);
        run.Store.Refuses = true;
        var first = run.Submit(Request(Prompt(1, 100), 5));
        run.StepUntil(() => first.Reason is not null);
        var second = run.Submit(Request(Prompt(2, 110), 5));
        run.StepUntil(() => second.Reason is not null);
        run.Store.Refuses = false;
        run.RunUntilIdle();
        var counters = run.Counters;
        Assert.That(counters.BlocksEvicted, Is.GreaterThan(0));
        Assert.That(counters.BlocksSaveDropped, Is.EqualTo(counters.BlocksEvicted));
        Assert.That(counters.BlocksSaved, Is.EqualTo(12 - counters.BlocksEvicted));
    }
}
