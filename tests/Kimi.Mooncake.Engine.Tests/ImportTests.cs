using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>Sequences whose prompt another worker computes.</summary>
[TestFixture]
internal sealed class ImportTests
{
    [TestCase(1)]
    [TestCase(15)]
    [TestCase(16)]
    [TestCase(17)]
    [TestCase(100)]
    public void CompleteImport_OnePrompt_GoesOnFromItsFirstToken(int promptLength)
    {
        // Arrange
        var run = new EngineRun(16);
        var outcome = run.Submit(Request(Prompt(1, promptLength), 40), SequenceMode.DecodeOnly);
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        Assert.That(outcome.PresentTokens, Is.Zero);
        Assert.That(run.Engine.Status().Importing, Is.EqualTo(1));

        // Act
        run.CompleteImport(outcome);
        Assert.That(outcome.Tokens, Has.Count.EqualTo(1), "the first token is known already");
        run.RunUntilIdle();

        // Assert
        outcome.AssertAsAlone();
        var counters = run.Counters;
        Assert.That((counters.PrefillTokensComputed, counters.PromptTokens), Is.EqualTo((0, 0)));
        Assert.That((counters.PrefillsImported, counters.ImportedTokens), Is.EqualTo((1, promptLength)));
        Assert.That(counters.ImportTime, Is.EqualTo(TimeSpan.Zero));
        Assert.That(counters.GeneratedTokens, Is.EqualTo(39), "the first was drawn elsewhere");
    }

    [TestCase(100, 96)]
    [TestCase(97, 96)]
    [TestCase(96, 80)]
    [TestCase(16, 0)]
    public void Submit_PromptIsCached_StillWaitsForItsLastTokens(int promptLength, int present)
    {
        var run = new EngineRun(32);
        run.Run(Request(Prompt(1, promptLength), 5));
        var outcome = run.Submit(Request(Prompt(1, promptLength), 5), SequenceMode.DecodeOnly);
        run.Step();
        Assert.That(outcome.PresentTokens, Is.EqualTo(present));

        run.CompleteImport(outcome);
        run.RunUntilIdle();
        outcome.AssertAsAlone();
        Assert.That(run.Counters.ImportedTokens, Is.EqualTo(promptLength - present));
    }

    [Test]
    public void CompleteImport_FromAnotherEngine_GivesWhatOneEngineGives()
    {
        // Arrange
        var request = Request(Prompt(1, 100), 30);
        var (prefill, decode) = (new EngineRun(16), new EngineRun(16));
        var exported = prefill.Submit(request, SequenceMode.PrefillOnly);
        var imported = decode.Submit(request, SequenceMode.DecodeOnly);
        prefill.StepUntil(() => exported.Reason is not null);
        decode.Step();

        // Act
        var from = prefill.Engine.BlockIdsOf(exported.Id);
        var to = decode.Engine.BlockIdsOf(imported.Id);
        for (var i = 0; i < to.Length; i++)
        {
            prefill.Model.Block(from[i]).CopyTo(decode.Model.Block(to[i]));
        }

        decode.Engine.CompleteImport(
            imported.Id, new ImportedPrefill(0, new SampledToken(exported.Tokens[0], 0, null), null), default);
        prefill.ReleaseExport(exported);
        prefill.RunUntilIdle();
        decode.RunUntilIdle();

        // Assert
        imported.AssertAsAlone();
    }

    [Test]
    public void Submit_ManyForOneDocument_ImportItOnce()
    {
        // Arrange
        var run = new EngineRun(64);
        var all = Enumerable.Range(2, 10)
            .Select(i => run.Submit(Request(Prompt(1, 96).Concat(Prompt(i, 10)), 5), SequenceMode.DecodeOnly)).ToList();
        var whole = run.Submit(Request(Prompt(1, 96).Concat(Prompt(40, 10)), 5));
        run.Step();
        Assert.That(run.Peers.Imports, Is.EqualTo(new[] { all[0] }));
        Assert.That(run.Engine.Status().Waiting, Is.EqualTo(10));

        // Act
        run.CompleteImport(all[0]);
        run.Step();
        Assert.That(run.Peers.Imports, Is.EquivalentTo(all.Skip(1)));
        all.Skip(1).ToList().ForEach(run.CompleteImport);
        run.RunUntilIdle();

        // Assert
        all.ForEach(outcome => outcome.AssertAsAlone());
        whole.AssertAsAlone();
        Assert.That(all.Skip(1).Select(outcome => outcome.PresentTokens), Is.All.EqualTo(96));
        Assert.That(whole.CachedTokens, Is.EqualTo(96));
        Assert.That(run.Counters.ImportedTokens, Is.EqualTo(106 + (9 * 10)));
    }

    [Test]
    public void FailImport_OthersWaitForIt_OneOfThemImports()
    {
        var run = new EngineRun(64);
        var first = run.Submit(Request(Prompt(1, 106), 5), SequenceMode.DecodeOnly);
        var second = run.Submit(Request(Prompt(1, 107), 5), SequenceMode.DecodeOnly);
        var third = run.Submit(Request(Prompt(1, 108), 5));
        run.Step();

        run.FailImport(first);
        Assert.That((first.Reason, first.Message), Is.EqualTo((FinishReason.Failed, "the prefill worker is gone")));
        Assert.That(run.Engine.Status().BlocksHeld, Is.Zero);
        run.Step();
        Assert.That((second.PresentTokens, run.Engine.Status().Waiting), Is.EqualTo((0, 1)));
        run.CompleteImport(second);
        run.RunUntilIdle();

        second.AssertAsAlone();
        third.AssertAsAlone();
        Assert.That(third.CachedTokens, Is.EqualTo(96));
    }

    [Test]
    public void Submit_AnotherSequenceComputesThePrefix_WaitsForIt()
    {
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 32 });
        var whole = run.Submit(Request(Prompt(1, 106), 5));
        var imported = run.Submit(Request(Prompt(1, 108), 5), SequenceMode.DecodeOnly);
        run.StepUntil(() => imported.PresentTokens >= 0);
        Assert.That((whole.CachedTokens, imported.PresentTokens), Is.EqualTo((0, 96)));
        run.CompleteImport(imported);
        run.RunUntilIdle();
        imported.AssertAsAlone();
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Cancel_WhileImporting_KeepsTheBlocksUntilNobodyWrites(bool completes)
    {
        // Arrange
        var run = new EngineRun(16);
        var outcome = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.DecodeOnly);
        run.Step();

        // Act
        run.Cancel(outcome);
        Assert.That(outcome.Reason, Is.EqualTo(FinishReason.Cancelled));
        run.Step();
        Assert.That((run.Engine.Status().BlocksHeld, run.Engine.Status().Importing), Is.EqualTo((7, 1)));
        if (completes)
        {
            run.CompleteImport(outcome);
        }
        else
        {
            run.FailImport(outcome);
        }

        // Assert
        run.RunUntilIdle();
        var again = run.Run(Request(Prompt(1, 100), 5));
        Assert.That(again.CachedTokens, Is.EqualTo(completes ? 96 : 0));
    }

    [Test]
    public void Cancel_WhileWaiting_NeverReserves()
    {
        var run = new EngineRun(16, new EngineOptions { RunningSequencesMax = 1 });
        var first = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.DecodeOnly);
        var second = run.Submit(Request(Prompt(2, 100), 5), SequenceMode.DecodeOnly);
        run.Step();
        run.Cancel(second);
        run.CompleteImport(first);
        run.RunUntilIdle();
        Assert.That((second.PresentTokens, second.Reason), Is.EqualTo((-1, FinishReason.Cancelled)));
    }

    [Test]
    public void Step_DecodingNeedsABlock_ImportsKeepTheirs()
    {
        // Arrange: 3 of 8 blocks are reserved for the import; the other needs 7 at its end.
        var run = new EngineRun(8, new EngineOptions { SettleGeneratedBlocks = false });
        var decoding = run.Submit(Request(Prompt(1, 20), 90));
        run.Step();
        var imported = run.Submit(Request(Prompt(2, 40), 5), SequenceMode.DecodeOnly);

        // Act
        run.StepUntil(() => run.Step() == StepOutcome.WaitsForTransfers);
        Assert.That(decoding.Tokens, Has.Count.EqualTo((5 * BlockTokens) - 20 + 1), "all blocks but the import's");
        run.Peers.Scribble();
        run.CompleteImport(imported);
        run.RunUntilIdle();

        // Assert
        decoding.AssertAsAlone();
        imported.AssertAsAlone();
    }

    [Test]
    public void Step_PreemptedAfterItsImport_ComputesItsPromptHere()
    {
        var run = new EngineRun(8);
        var older = run.Submit(Request(Prompt(1, 20), 90));
        var younger = run.Submit(Request(Prompt(2, 20), 90), SequenceMode.DecodeOnly);
        run.Step();
        run.CompleteImport(younger);

        run.RunUntilIdle();

        older.AssertAsAlone();
        younger.AssertAsAlone();
        Assert.That(run.Counters.Preemptions, Is.GreaterThan(0));
        Assert.That(run.Counters.PrefillsImported, Is.EqualTo(1));
    }

    [Test]
    public void Step_Imported_IsSettledLikeAnyOther()
    {
        var run = new EngineRun(32);
        var first = run.Submit(Request(Prompt(1, 20), 60), SequenceMode.DecodeOnly);
        run.Step();
        run.CompleteImport(first);
        run.RunUntilIdle();
        var turn = run.Run(Request(first.AllTokens.Concat(Prompt(2, 9)), 10));
        Assert.That(turn.CachedTokens, Is.EqualTo(80));
    }

    [Test]
    public void CompleteImport_FirstDrawEndsIt_FinishesAtOnce()
    {
        var (tokens, _) = SimulatedModel.Alone(Request(Prompt(1, 20), 1));
        var run = new EngineRun(8);
        var stopped = run.Submit(Request(Prompt(1, 20), 10, tokens[0]), SequenceMode.DecodeOnly);
        run.Step();
        run.CompleteImport(stopped);
        var single = run.Submit(Request(Prompt(1, 20), 1), SequenceMode.DecodeOnly);
        run.Step();
        run.CompleteImport(single);

        Assert.That((stopped.Reason, stopped.Tokens), Is.EqualTo((FinishReason.Stop, Array.Empty<int>())));
        Assert.That((single.Reason, single.Tokens), Is.EqualTo((FinishReason.Length, tokens)));
        run.RunUntilIdle();
    }

    [Test]
    public void CompleteImport_ImpossibleValues_Throws()
    {
        var run = new EngineRun(8);
        var outcome = run.Submit(Request(Prompt(1, 20), 10), SequenceMode.DecodeOnly);
        run.Step();
        var token = new SampledToken(1, 0, null);
        foreach (var prefill in new ImportedPrefill[]
        {
            new(-1, token, null), new(20, token, null), new(0, null, null), new(0, null, FinishReason.Failed),
        })
        {
            Assert.That(() => run.Engine.CompleteImport(outcome.Id, prefill, default), Throws.ArgumentException);
        }

        run.CompleteImport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void HandOverCalls_UnknownSequence_DoNothing()
    {
        var run = new EngineRun(8);
        var decoding = run.Submit(Request(Prompt(1, 20), 10));
        run.Step();
        run.Engine.CompleteImport(decoding.Id, new ImportedPrefill(0, new SampledToken(1, 0, null), null), default);
        run.Engine.FailImport(decoding.Id, "nothing");
        run.Engine.ReleaseExport(decoding.Id);
        run.Engine.ReleaseExport(99);
        Assert.That(run.Engine.BlockIdsOf(decoding.Id).Length + run.Engine.BlockIdsOf(99).Length, Is.Zero);
        run.RunUntilIdle();
        decoding.AssertAsAlone();
    }
}
