using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>Requests of which another worker generated some tokens before it was lost.</summary>
[TestFixture]
internal sealed class ResumeTests
{
    [TestCase(SequenceMode.Whole, 20, 1)]
    [TestCase(SequenceMode.Whole, 32, 17)]
    [TestCase(SequenceMode.Whole, 20, 39)]
    [TestCase(SequenceMode.Whole, 20, 40)]
    [TestCase(SequenceMode.DecodeOnly, 20, 1)]
    [TestCase(SequenceMode.DecodeOnly, 32, 17)]
    [TestCase(SequenceMode.DecodeOnly, 20, 39)]
    [TestCase(SequenceMode.DecodeOnly, 20, 40)]
    public void Submit_SomeTokensWereGenerated_ReportsOnlyTheRest(SequenceMode mode, int promptLength, int generated)
    {
        // Arrange
        var request = Resumed(Request(Prompt(1, promptLength), 40), generated);
        var run = new EngineRun(16);

        // Act
        var outcome = run.Submit(request, mode);
        if (mode == SequenceMode.DecodeOnly)
        {
            run.Step();
            run.CompleteImport(outcome);
        }

        run.RunUntilIdle();

        // Assert
        outcome.AssertAsAlone();
        Assert.That(outcome.Tokens, Has.Count.EqualTo(40 - generated));
        var drawnHere = generated == 40 ? 0 : 40 - generated;
        Assert.That(run.Counters.GeneratedTokens, Is.EqualTo(drawnHere), "what was drawn before is not drawn again");
        var turn = run.Run(Request(outcome.AllTokens.Concat(Prompt(2, 20)), 5));
        Assert.That(turn.CachedTokens, Is.EqualTo((promptLength + 40) / 16 * 16), "all generated tokens were settled");
    }

    [Test]
    public void Submit_PrefillOnlyAfterSomeTokens_DrawsTheFirstAgain()
    {
        var run = new EngineRun(16);
        var outcome = run.Submit(Resumed(Request(Prompt(1, 20), 40), 10), SequenceMode.PrefillOnly);
        run.Step();
        outcome.AssertAsAlone();
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [TestCase(false)]
    [TestCase(true)]
    public void CompleteImport_AnotherFirstTokenThanBefore_Fails(bool stops)
    {
        var request = Resumed(Request(Prompt(1, 20), 40), 10);
        var run = new EngineRun(16);
        var outcome = run.Submit(request, SequenceMode.DecodeOnly);
        run.Step();
        run.Peers.Fill(outcome);
        SampledToken? other = stops ? null : new SampledToken(request.GeneratedTokens[0] + 1, 0, null);
        run.Engine.CompleteImport(
            outcome.Id, new ImportedPrefill(0, other, stops ? FinishReason.Stop : null), default);
        run.RunUntilIdle();
        Assert.That(outcome.Reason, Is.EqualTo(FinishReason.Failed));
        Assert.That(outcome.Message, Does.Contain($"began with token {request.GeneratedTokens[0]}"));
        Assert.That(outcome.Tokens, Is.Empty);
    }

    [Test]
    public void Submit_MoreTokensThanMayBe_Throws()
    {
        var run = new EngineRun(16);
        var request = Request(Prompt(1, 20), 2) with { GeneratedTokens = [1, 2, 3] };
        Assert.That(() => run.Engine.Submit(request, default), Throws.ArgumentException);
    }

    [Test]
    public void Step_PreemptedWhileReplaying_StillReportsOnlyTheRest()
    {
        var run = new EngineRun(8);
        var older = run.Submit(Request(Prompt(1, 20), 90));
        var resumed = run.Submit(Resumed(Request(Prompt(2, 20), 90), 45));
        run.RunUntilIdle();
        Assert.That(run.Counters.Preemptions, Is.GreaterThan(0));
        older.AssertAsAlone();
        resumed.AssertAsAlone();
    }

    public static GenerationRequest Resumed(GenerationRequest request, int generated) =>
        request with { GeneratedTokens = SimulatedModel.Alone(request).Tokens.Take(generated).ToArray() };
}
