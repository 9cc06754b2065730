using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>Preempted sequences whose generated tokens are put aside and brought back.</summary>
[TestFixture]
internal sealed class SwapTests
{
    private static readonly EngineOptions Swapping = new()
    {
        Preemption = PreemptionMode.Swap,
        SettleGeneratedBlocks = false,
    };

    [TestCase(20)]
    [TestCase(32)]
    public void Step_Preempted_BringsGeneratedTokensBackInsteadOfReplayingThem(int promptLength)
    {
        var run = new EngineRun(9, Swapping, store: true);
        var older = run.Submit(Request(Prompt(1, promptLength), 90));
        var younger = run.Submit(Request(Prompt(2, promptLength), 90));
        run.RunUntilIdle();

        older.AssertAsAlone();
        younger.AssertAsAlone();
        var counters = run.Counters;
        Assert.That(counters.SwapsBegun, Is.GreaterThan(0).And.EqualTo(counters.Preemptions));
        Assert.That((counters.ReplayedTokens, counters.SwapsFailed), Is.EqualTo((0, 0)));
        Assert.That(counters.SwappedTokens, Is.GreaterThan(0));
        Assert.That(counters.PrefillTokensComputed, Is.EqualTo(2 * promptLength), "nor is the prompt computed again");
    }

    [Test]
    public void Step_PromptWasEvicted_ComputesItAndBringsTheRestBack()
    {
        // Arrange: the younger is preempted, and the older's growth evicts its prompt, which the store does not take.
        var run = new EngineRun(9, Swapping, store: true);
        var older = run.Submit(Request(Prompt(1, 20), 120));
        var younger = run.Submit(Request(Prompt(2, 40), 90));
        run.StepUntil(() => run.Counters.SwapsBegun > 0);
        run.Step();
        run.Store.Refuses = true;
        run.Store.Blocks.Clear();
        run.StepUntil(() => older.Reason is not null);
        run.Store.Refuses = false;

        // Act
        run.RunUntilIdle();

        // Assert
        younger.AssertAsAlone();
        Assert.That(run.Counters.ReplayedTokens, Is.Zero);
        Assert.That(run.Counters.PrefillTokensComputed, Is.GreaterThan(60));
    }

    [TestCase("out refused")]
    [TestCase("out fails")]
    [TestCase("in refused")]
    [TestCase("in fails")]
    public void Step_SwapDoesNotSucceed_ReplaysTheTokens(string fault)
    {
        // Arrange
        var run = new EngineRun(8, Swapping, store: true);
        var older = run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90));
        run.StepUntil(() => older.Tokens.Count > 20);
        run.Store.Refuses = fault == "out refused";
        run.Store.SwapBlocksMax = fault == "out fails" ? 1 : int.MaxValue;
        run.StepUntil(() => run.Counters.Preemptions > 0);
        run.Step();
        run.Step();

        // Act
        run.Store.Refuses = fault == "in refused";
        run.Store.SwapBlocksMax = fault == "in fails" ? 1 : int.MaxValue;
        run.StepUntil(() => run.Counters.ReplayedTokens > 0);
        run.Store.Refuses = false;
        run.RunUntilIdle();

        // Assert
        older.AssertAsAlone();
        younger.AssertAsAlone();
        Assert.That(run.Counters.SwapsFailed, Is.EqualTo(fault == "out refused" ? 0 : 1));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Cancel_WhileSwapping_ReleasesTheBlocksWhenTheConnectorIsDone(bool goingOut)
    {
        // Arrange
        var run = new EngineRun(8, Swapping, store: true);
        var older = run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90));
        run.StepUntil(() => older.Tokens.Count > 20);
        run.Store.Holds = goingOut;
        run.StepUntil(() => run.Counters.Preemptions > 0);
        if (!goingOut)
        {
            run.StepUntil(() => run.Engine.Status().Swapping == 0);
            run.Store.Holds = true;
            run.StepUntil(() => run.Engine.Status().Loading == 1);
            run.Store.Complete();
            run.Step();
        }

        // Act
        run.Cancel(younger);
        Assert.That(younger.Reason, Is.EqualTo(FinishReason.Cancelled));
        run.Step();
        Assert.That(run.Engine.Status().Swapping, Is.EqualTo(1));
        run.Store.Holds = false;
        run.RunUntilIdle();

        // Assert
        older.AssertAsAlone();
    }

    [Test]
    public void Cancel_PutAside_DropsIt()
    {
        var run = new EngineRun(8, Swapping, store: true);
        run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90));
        run.StepUntil(() => run.Store.SwapCount > 0);
        run.Cancel(younger);
        Assert.That(run.Store.SwapCount, Is.Zero);
        run.RunUntilIdle();
    }

    [Test]
    public void Step_BlocksAreBeingPutAside_NobodyElseIsPreempted()
    {
        // Arrange: three decode; when memory is short the youngest goes, which takes its time.
        var run = new EngineRun(9, Swapping, store: true);
        var all = Enumerable.Range(1, 3).Select(i => run.Submit(Request(Prompt(i, 20), 60))).ToList();
        run.StepUntil(() => all[2].Tokens.Count > 20);
        run.Store.Holds = true;

        // Act
        run.StepUntil(() => run.Step() == StepOutcome.WaitsForTransfers);
        Assert.That(run.Counters.Preemptions, Is.EqualTo(1));
        run.Store.Holds = false;
        run.RunUntilIdle();

        // Assert
        all.ForEach(outcome => outcome.AssertAsAlone());
    }

    [TestCase(PreemptionMode.Recompute, true, 1e12, false)]
    [TestCase(PreemptionMode.Swap, true, 1, true)]
    [TestCase(PreemptionMode.Swap, false, 1, false)]
    [TestCase(PreemptionMode.Auto, true, 1e12, true)]
    [TestCase(PreemptionMode.Auto, true, 1, false)]
    public void Preemption_Mode_DecidesWithTheRates(PreemptionMode mode, bool canSwap, double rate, bool swaps)
    {
        var run = new EngineRun(8, Swapping with { Preemption = mode }, store: true);
        run.Store.CanSwap = canSwap;
        run.Engine.UseRates(new PreemptionRates(rate, 0.01));
        run.Submit(Request(Prompt(1, 20), 90));
        run.Submit(Request(Prompt(2, 20), 90));
        run.RunUntilIdle();
        Assert.That(run.Counters.SwapsBegun > 0, Is.EqualTo(swaps));
        Assert.That(run.Counters.ReplayedTokens > 0, Is.EqualTo(!swaps));
    }

    [TestCase(1_000_000, 10, 1e8, 0.002, false)]
    [TestCase(999_999, 10, 1e8, 0.002, true)]
    [TestCase(1_000_000, 11, 1e8, 0.002, true)]
    public void SwapIsFaster_BytesAndTokens_ComparesTheTimes(
        long bytes, int tokens, double rate, double seconds, bool expected) =>
        Assert.That(new PreemptionRates(rate, seconds).SwapIsFaster(bytes, tokens), Is.EqualTo(expected));

    [Test]
    public void UseRates_NotAboveZero_Throws()
    {
        var engine = new EngineRun(8).Engine;
        Assert.That(() => engine.UseRates(new PreemptionRates(0, 1)), Throws.InstanceOf<ArgumentException>());
        Assert.That(() => engine.UseRates(new PreemptionRates(1, double.NaN)), Throws.InstanceOf<ArgumentException>());
    }
}
