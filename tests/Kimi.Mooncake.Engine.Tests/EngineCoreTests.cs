using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

[TestFixture]
internal sealed class EngineCoreTests
{
    [TestCase(1)]
    [TestCase(15)]
    [TestCase(16)]
    [TestCase(17)]
    [TestCase(100)]
    public void Step_OnePrompt_GeneratesItsTokens(int promptLength)
    {
        var run = new EngineRun(16);
        var outcome = run.Run(Request(Prompt(1, promptLength), 40));
        Assert.That(outcome.Tokens, Has.Count.EqualTo(40));
        Assert.That(outcome.CachedTokens, Is.Zero);
        Assert.That(run.Counters.PrefillTokensComputed, Is.EqualTo(promptLength));
    }

    [TestCase(64, 100, 96)]
    [TestCase(64, 97, 96)]
    [TestCase(64, 96, 80)]
    [TestCase(16, 96, 80)]
    [TestCase(16, 16, 0)]
    [TestCase(16, 1, 0)]
    public void Step_SamePromptAgain_SkipsItsFullBlocksButNotTheLastToken(int chunk, int promptLength, int cached)
    {
        // Arrange
        var run = new EngineRun(32, new EngineOptions { PrefillChunkTokens = chunk });
        var cold = run.Run(Request(Prompt(1, promptLength), 5));

        // Act
        var warm = run.Run(Request(Prompt(1, promptLength), 5));

        // Assert
        Assert.That((cold.CachedTokens, warm.CachedTokens), Is.EqualTo((0, cached)));
        Assert.That(run.Counters.PrefillTokensComputed, Is.EqualTo(promptLength + promptLength - cached));
        Assert.That(run.Counters.CachedTokens, Is.EqualTo(cached));
        Assert.That(warm.Tokens, Is.EqualTo(cold.Tokens));
    }

    [Test]
    public void Step_OtherSalt_SharesNothing()
    {
        var run = new EngineRun(32);
        run.Run(Request(Prompt(1, 100), 5));
        var other = run.Run(Request(Prompt(1, 100), 5) with { CacheSalt = "tenant" });
        Assert.That(other.CachedTokens, Is.Zero);
    }

    [Test]
    public void Step_LongPrompt_IsCutIntoChunksAndReportsThem()
    {
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 40 });
        var outcome = run.Run(Request(Prompt(1, 100), 2) with { ReportProgress = true });
        Assert.That(outcome.Progress, Is.EqualTo(new[] { 0, 40, 80, 100 }));
        Assert.That(run.Model.Steps, Is.EqualTo(new[] { "1:P0+40", "1:P40+40", "1:P80+20!", "1:D100+1!" }));
    }

    [Test]
    public void Step_DecodingAndPrefilling_ShareAStep()
    {
        var run = new EngineRun(32, new EngineOptions { PrefillChunkTokens = 32 });
        var first = run.Submit(Request(Prompt(1, 20), 30));
        run.Step();
        var second = run.Submit(Request(Prompt(2, 50), 3));
        var third = run.Submit(Request(Prompt(3, 20), 3));
        run.Step();
        run.Step();
        run.RunUntilIdle();

        Assert.That(run.Model.Steps[1], Is.EqualTo("1:D20+1! 2:P0+32"));
        Assert.That(run.Model.Steps[2], Is.EqualTo("1:D21+1! 2:P32+18! 3:P0+14"));
        Assert.That(run.Model.Steps[3], Is.EqualTo("1:D22+1! 2:D50+1! 3:P14+6!"));
        foreach (var outcome in new[] { first, second, third })
        {
            outcome.AssertAsAlone();
        }
    }

    [Test]
    public void Step_TwoShareAnUncachedPrefix_ComputeItOnce()
    {
        // Arrange: 96 shared tokens, then 10 and 30 of their own; a third shares nothing.
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 32 });
        var first = run.Submit(Request(Prompt(1, 96).Concat(Prompt(2, 10)), 5));
        var second = run.Submit(Request(Prompt(1, 96).Concat(Prompt(3, 30)), 5));
        var third = run.Submit(Request(Prompt(4, 20), 5));

        // Act
        run.RunUntilIdle();

        // Assert
        foreach (var outcome in new[] { first, second, third })
        {
            outcome.AssertAsAlone();
        }

        Assert.That((first.CachedTokens, second.CachedTokens), Is.EqualTo((0, 96)));
        Assert.That(run.Counters.PrefillTokensComputed, Is.EqualTo(106 + 30 + 20));
    }

    [Test]
    public void Cancel_TheOneWhoComputesForOthers_LetsThemGoOn()
    {
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 16 });
        var first = run.Submit(Request(Prompt(1, 160), 5));
        var second = run.Submit(Request(Prompt(1, 150), 5));
        run.Step();
        run.Step();
        Assert.That(run.Engine.Status().Waiting, Is.EqualTo(1));

        run.Cancel(first);
        run.RunUntilIdle();

        second.AssertAsAlone();
        Assert.That(first.Reason, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(second.CachedTokens, Is.EqualTo(32), "what was computed before the end is used");
    }

    [Test]
    public void Submit_StopToken_EndsWithoutReportingIt()
    {
        var (tokens, _) = SimulatedModel.Alone(Request(Prompt(1, 20), 30));
        var stop = tokens[^1];
        var expected = tokens.IndexOf(stop);

        var run = new EngineRun(8);
        var outcome = run.Run(Request(Prompt(1, 20), 100, 999, stop));

        Assert.That(outcome.Reason, Is.EqualTo(FinishReason.Stop));
        Assert.That(outcome.Tokens, Is.EqualTo(tokens[..expected]));
        Assert.That(run.Counters.GeneratedTokens, Is.EqualTo(expected));
    }

    [Test]
    public void Submit_MoreThanThePoolHolds_IsRefusedWithBothNumbers()
    {
        var run = new EngineRun(4);
        var result = run.Engine.Submit(Request(Prompt(1, 60), 5), default);
        Assert.That(result, Is.EqualTo(new AdmissionResult(AdmissionReason.TooLong, 0, 65, 64)));
        run.Run(Request(Prompt(1, 60), 4));
        Assert.That(run.Counters.RequestsRefusedTooLong, Is.EqualTo(1));
    }

    [Test]
    public void Submit_QueueFull_IsRefusedWithBothNumbers()
    {
        var run = new EngineRun(64, new EngineOptions { WaitingSequencesMax = 2, RunningSequencesMax = 1 });
        run.Submit(Request(Prompt(1, 60), 5));
        run.Step();
        run.Submit(Request(Prompt(2, 60), 5));
        run.Submit(Request(Prompt(3, 60), 5));
        var result = run.Engine.Submit(Request(Prompt(4, 60), 5), default);
        Assert.That(result, Is.EqualTo(new AdmissionResult(AdmissionReason.QueueFull, 0, 2, 2)));
        run.RunUntilIdle();
    }

    [Test]
    public void Submit_EmptyPromptOrNoOutput_Throws()
    {
        var run = new EngineRun(4);
        Assert.That(() => run.Engine.Submit(Request([], 5), default), Throws.ArgumentException);
        Assert.That(() => run.Engine.Submit(Request([1], 0), default), Throws.ArgumentException);
    }

    [Test]
    public void Step_HeadOfQueueNeedsMoreBlocks_NobodyOvertakesIt()
    {
        // Arrange: the first leaves 4 of 10 blocks; the second needs 8; the third would fit.
        var run = new EngineRun(10);
        var first = run.Submit(Request(Prompt(1, 90), 6));
        run.Step();
        var second = run.Submit(Request(Prompt(2, 120), 6));
        var third = run.Submit(Request(Prompt(3, 10), 6));

        // Act
        run.StepUntil(() => second.CachedTokens >= 0);

        // Assert
        Assert.That(first.Reason, Is.EqualTo(FinishReason.Length));
        Assert.That(third.Tokens, Is.Empty.Or.Count.LessThanOrEqualTo(second.Tokens.Count));
        run.RunUntilIdle();
        third.AssertAsAlone();
    }

    [Test]
    public void Cancel_InEveryState_ReleasesEverything()
    {
        // Arrange
        var options = new EngineOptions { PrefillChunkTokens = 32, RunningSequencesMax = 2 };
        var run = new EngineRun(32, options);
        var decoding = run.Submit(Request(Prompt(1, 20), 50));
        var prefilling = run.Submit(Request(Prompt(2, 200), 50));
        var waiting = run.Submit(Request(Prompt(3, 20), 50));
        run.Step();
        run.Step();
        Assert.That(decoding.Tokens, Is.Not.Empty);
        Assert.That(prefilling.CachedTokens, Is.EqualTo(-1));
        Assert.That(run.Engine.Status().Waiting, Is.EqualTo(1));

        // Act
        run.Cancel(waiting);
        run.Cancel(prefilling);
        run.Cancel(decoding);
        run.Cancel(decoding);

        // Assert
        Assert.That(run.Engine.Status().BlocksHeld, Is.Zero);
        run.RunUntilIdle();
        Assert.That(run.Counters.FinishedCancelled, Is.EqualTo(3));
    }

    [Test]
    public void Step_RunnerThrows_FailsTheStepsSequencesAndGoesOn()
    {
        // Arrange
        var run = new EngineRun(32, new EngineOptions { RunningSequencesMax = 2 });
        var first = run.Submit(Request(Prompt(1, 40), 50));
        var second = run.Submit(Request(Prompt(2, 40), 50));
        var third = run.Submit(Request(Prompt(1, 40), 50));
        run.Step();
        run.Model.Fault = new InvalidDataException("the weights are gone");

        // Act
        run.Step();

        // Assert
        Assert.That((first.Reason, second.Reason), Is.EqualTo((FinishReason.Failed, FinishReason.Failed)));
        Assert.That(first.Message, Is.EqualTo("the weights are gone"));
        run.RunUntilIdle();
        third.AssertAsAlone();
    }

    [Test]
    public void Step_Decoding_DoesNotAllocate()
    {
        // Arrange
        var engine = new EngineCore(new EngineOptions(), Layout, "model", 600, new FastModel(), null);
        for (var i = 0; i < 4; i++)
        {
            engine.Submit(Request(Prompt(i, 30), 2000), default);
        }

        for (var i = 0; i < 20; i++)
        {
            engine.Step(default);
            engine.ClearEvents();
        }

        // Act
        var tokens = 0;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            engine.Step(default);
            tokens += engine.Events.Length;
            engine.ClearEvents();
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        // Assert
        Assert.That(tokens, Is.EqualTo(4000));
        Assert.That(allocated, Is.Zero);
    }

    private sealed class FastModel : IModelRunner
    {
        public void Execute(StepPlan plan, StepResult result)
        {
            var tokens = result.Reset(plan.Count);
            for (var i = 0; i < tokens.Length; i++)
            {
                tokens[i] = new SampledToken(plan.Slices[i].Start % 50, 0, null);
            }
        }
    }
}
