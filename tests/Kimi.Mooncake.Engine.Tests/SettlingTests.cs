using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

[TestFixture]
internal sealed class SettlingTests
{
    [TestCase(20, 90, 96)]
    [TestCase(32, 64, 96)]
    [TestCase(32, 16, 48)]
    [TestCase(20, 5, 16)]
    [TestCase(33, 15, 48)]
    public void Step_NextTurn_FindsTheGeneratedBlocks(int promptLength, int generated, int cached)
    {
        // Arrange
        var run = new EngineRun(32);
        var first = run.Run(Request(Prompt(1, promptLength), generated));

        // Act
        var turn = Prompt(1, promptLength).Concat(first.Tokens).Concat(Prompt(2, 20));
        var second = run.Run(Request(turn, 10));

        // Assert
        Assert.That(second.CachedTokens, Is.EqualTo(cached));
    }

    [Test]
    public void Step_LastPromptBlockWasPublishedBefore_SettlesUnderThePublishedOne()
    {
        // Arrange: the second computes the sixth block again, into a block of its own.
        var run = new EngineRun(32);
        run.Run(Request(Prompt(1, 96), 5));

        // Act
        var second = run.Run(Request(Prompt(1, 96), 40));

        // Assert
        var turn = run.Run(Request(Prompt(1, 96).Concat(second.Tokens), 5));
        Assert.That(turn.CachedTokens, Is.EqualTo(128));
    }

    [Test]
    public void Step_SwitchedOff_PublishesNoGeneratedBlock()
    {
        var run = new EngineRun(32, new EngineOptions { SettleGeneratedBlocks = false });
        var first = run.Run(Request(Prompt(1, 20), 90));
        var second = run.Run(Request(Prompt(1, 20).Concat(first.Tokens).Concat(Prompt(2, 20)), 10));
        Assert.That(second.CachedTokens, Is.EqualTo(16));
        Assert.That(run.Counters.SettledTokens, Is.Zero);
    }

    [Test]
    public void Step_OthersAreRunning_SettlesOnlyAfterThem()
    {
        // Arrange
        var run = new EngineRun(64);
        var quick = run.Submit(Request(Prompt(1, 20), 40));
        var slow = run.Submit(Request(Prompt(2, 20), 80));

        // Act
        run.StepUntil(() => quick.Reason is not null);
        Assert.That(run.Engine.Status().Settling, Is.EqualTo(1), "the client heard of the end before");
        run.StepUntil(() => slow.Reason is not null);

        // Assert
        Assert.That(run.Counters.SettledTokens, Is.Zero);
        run.RunUntilIdle();
        Assert.That(run.Counters.SettledTokens, Is.EqualTo(32 + 80), "the tails of the prompts and what was generated");
    }

    [Test]
    public void Step_BlocksAreNeeded_GivesUpSettling()
    {
        var run = new EngineRun(8);
        var first = run.Submit(Request(Prompt(1, 20), 60));
        run.StepUntil(() => first.Reason is not null);
        Assert.That(run.Engine.Status().Settling, Is.EqualTo(1));

        var second = run.Run(Request(Prompt(2, 100), 10));

        second.AssertAsAlone();
        Assert.That(run.Counters.SettlingDropped, Is.EqualTo(1));
    }

    [Test]
    public void Step_MoreFinishThanAreKept_DropsTheOldest()
    {
        var run = new EngineRun(64, new EngineOptions { SettlingSequencesMax = 2 });
        var outcomes = Enumerable.Range(1, 4).Select(i => run.Submit(Request(Prompt(i, 20), 30))).ToList();
        run.RunUntilIdle();

        Assert.That(run.Counters.SettlingDropped, Is.EqualTo(2));
        var last = run.Run(Request(Prompt(4, 20).Concat(outcomes[3].Tokens), 5));
        Assert.That(last.CachedTokens, Is.EqualTo(48));
    }

    [Test]
    public void Step_RunnerThrowsWhileSettling_TellsNobodyAndReleasesTheBlocks()
    {
        var run = new EngineRun(16);
        var first = run.Submit(Request(Prompt(1, 20), 60));
        run.StepUntil(() => first.Reason is not null);
        run.Model.Fault = new InvalidDataException("broken");

        run.RunUntilIdle();

        Assert.That(first.Reason, Is.EqualTo(FinishReason.Length));
        Assert.That(run.Counters.SettlingDropped, Is.EqualTo(1));
        run.Run(Request(Prompt(1, 20).Concat(first.Tokens), 5));
    }

    [Test]
    public void InterruptSettling_DuringTheStep_SettlesAgainWhenIdle()
    {
        // Arrange
        var run = new EngineRun(32);
        var first = run.Submit(Request(Prompt(1, 20), 60));
        run.StepUntil(() => first.Reason is not null);
        run.Model.During = run.Engine.InterruptSettling;
        run.Engine.Step(TimeSpan.Zero);
        Assert.That(run.Counters.SettledTokens, Is.Zero, "nothing of the interrupted step counts");

        // Act
        run.RunUntilIdle();

        // Assert
        var turn = run.Run(Request(Prompt(1, 20).Concat(first.Tokens).Concat(Prompt(2, 9)), 10));
        turn.AssertAsAlone();
        Assert.That(turn.CachedTokens, Is.EqualTo(80));
    }

    [Test]
    public void Cancellation_DuringTheStep_PublishesNothingOfTheSequence()
    {
        // Arrange
        var run = new EngineRun(32);
        using var cancellation = new CancellationTokenSource();
        run.Model.During = cancellation.Cancel;
        run.Engine.Submit(Request(Prompt(1, 100), 10), TimeSpan.Zero, cancellation.Token);

        // Act
        run.Engine.Step(TimeSpan.Zero);
        var reasons = run.Engine.Events.ToArray().Select(e => (e.Kind, e.Reason));
        Assert.That(reasons, Is.EqualTo(new[] { (EngineEventKind.Finished, FinishReason.Cancelled) }));
        run.Engine.ClearEvents();

        // Assert
        var second = run.Run(Request(Prompt(1, 100), 10));
        second.AssertAsAlone();
        Assert.That(second.CachedTokens, Is.Zero);
    }
}
