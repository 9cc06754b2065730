using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>Sequences whose prompt is computed for another worker.</summary>
[TestFixture]
internal sealed class ExportTests
{
    [TestCase(1)]
    [TestCase(16)]
    [TestCase(100)]
    public void Step_PrefillOnly_ComputesThePromptAndKeepsItsBlocks(int promptLength)
    {
        // Arrange
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 32 });
        var outcome = run.Submit(Request(Prompt(1, promptLength), 40), SequenceMode.PrefillOnly);

        // Act
        run.StepUntil(() => outcome.Reason is not null);
        Assert.That(run.Step(), Is.EqualTo(StepOutcome.WaitsForTransfers));
        var status = run.Engine.Status();

        // Assert
        outcome.AssertAsAlone();
        Assert.That(outcome.Tokens, Has.Count.EqualTo(1));
        Assert.That((outcome.PresentTokens, status.Exporting), Is.EqualTo((0, 1)));
        Assert.That(status.BlocksHeld, Is.EqualTo((promptLength + 15) / 16));
        Assert.That(status.Counters.PrefillsExported, Is.EqualTo(1));
        Assert.That(status.Counters.FinishedLength, Is.Zero, "the request goes on elsewhere");
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
        Assert.That(run.Counters.SettledTokens, Is.Zero);
    }

    [Test]
    public void Step_FirstDrawIsAStopToken_EndsWithStop()
    {
        var (tokens, _) = SimulatedModel.Alone(Request(Prompt(1, 20), 1));
        var run = new EngineRun(8);
        var outcome = run.Submit(Request(Prompt(1, 20), 10, tokens[0]), SequenceMode.PrefillOnly);
        run.Step();
        Assert.That((outcome.Reason, outcome.Tokens), Is.EqualTo((FinishReason.Stop, Array.Empty<int>())));
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void Step_PromptsOfWholeBlocksTwice_KeepsTheBlocksThatWereComputedTwice()
    {
        // Arrange: the second computes the sixth block again; the tree has one of the same content.
        var run = new EngineRun(9);
        run.Run(Request(Prompt(1, 96), 1));
        var outcome = run.Submit(Request(Prompt(1, 96), 1), SequenceMode.PrefillOnly);
        run.Step();
        Assert.That(outcome.PresentTokens, Is.EqualTo(80));
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(7), "its own sixth block and the published one");

        // Act: another one takes every block that can be had.
        var other = run.Submit(Request(Prompt(2, 20), 12));
        run.StepUntil(() => other.Reason is not null);

        // Assert
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
        other.AssertAsAlone();
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Cancel_Admitted_KeepsTheBlocksUntilReleased(bool computed)
    {
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 32 });
        var outcome = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly);
        run.Step();
        run.StepUntil(() => outcome.Reason is not null || !computed);

        run.Cancel(outcome);
        Assert.That(outcome.Reason, Is.EqualTo(computed ? FinishReason.Length : FinishReason.Cancelled));
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(7));
        var other = run.Submit(Request(Prompt(1, 100), 5));
        run.StepUntil(() => other.Reason is not null);
        Assert.That(other.CachedTokens, Is.EqualTo(computed ? 96 : 32), "others go on from what was published");

        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void ReleaseExport_NotEnded_CancelsIt()
    {
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 32, RunningSequencesMax = 1 });
        var running = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly);
        var waiting = run.Submit(Request(Prompt(2, 100), 5), SequenceMode.PrefillOnly);
        run.Step();
        run.ReleaseExport(running);
        run.Engine.ReleaseExport(waiting.Id);
        run.RunUntilIdle();
        Assert.That((running.Reason, waiting.Reason), Is.EqualTo((FinishReason.Cancelled, FinishReason.Cancelled)));
        Assert.That(waiting.PresentTokens, Is.EqualTo(-1));
    }

    [Test]
    public void Step_RunnerThrows_KeepsTheBlocksUntilReleased()
    {
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 32 });
        var outcome = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly);
        run.Step();
        run.Model.Fault = new InvalidDataException("broken");
        run.Step();
        Assert.That((outcome.Reason, outcome.Message), Is.EqualTo((FinishReason.Failed, "broken")));
        Assert.That(run.Engine.Status().BlocksHeld, Is.EqualTo(7));
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void Step_DecodingNeedsABlock_ExportsKeepTheirs()
    {
        // Arrange: the older one decodes into the last block while the export, which is younger, is being computed.
        var run = new EngineRun(16, new EngineOptions { PrefillChunkTokens = 16, SettleGeneratedBlocks = false });
        var older = run.Submit(Request(Prompt(1, 30), 40));
        run.Step();
        run.Step();
        var export = run.Submit(Request(Prompt(2, 190), 5), SequenceMode.PrefillOnly);
        run.Step();
        Assert.That(export.PresentTokens, Is.Zero);

        // Act
        run.StepUntil(() => run.Step() == StepOutcome.WaitsForTransfers);
        Assert.That(older.Reason, Is.Null, "it waits for blocks of the export");
        run.ReleaseExport(export);
        run.RunUntilIdle();

        // Assert
        older.AssertAsAlone();
        export.AssertAsAlone();
        Assert.That(run.Counters.Preemptions, Is.Zero);
    }

    [Test]
    public void Step_AnImportMakesTheSameBlocks_TheExportComputesThem()
    {
        // Arrange: the import may wait for a worker that waits for this export.
        var run = new EngineRun(32);
        var imported = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.DecodeOnly);
        run.Step();
        var exports = Enumerable.Range(0, 2)
            .Select(_ => run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly)).ToList();
        var whole = run.Submit(Request(Prompt(1, 100), 5));

        // Act
        run.StepUntil(() => exports.All(outcome => outcome.Reason is not null) && whole.Reason is not null);

        // Assert
        Assert.That(exports.Select(outcome => outcome.CachedTokens), Is.EqualTo(new[] { 0, 96 }), "once for both");
        Assert.That(whole.CachedTokens, Is.EqualTo(96));
        exports.ForEach(run.ReleaseExport);
        run.CompleteImport(imported);
        run.RunUntilIdle();
        imported.AssertAsAlone();
    }

    [Test]
    public void Submit_PromptFitsButNotTheOutput_IsTaken()
    {
        var run = new EngineRun(4);
        var request = Request(Prompt(1, 64), 1000);
        Assert.That(
            run.Engine.Submit(request, default, SequenceMode.DecodeOnly, default).Reason,
            Is.EqualTo(AdmissionReason.TooLong));
        var outcome = run.Submit(request, SequenceMode.PrefillOnly);
        run.Step();
        outcome.AssertAsAlone();
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void Step_StoreHasThePrefix_IsAdmittedWhenItIsLoaded()
    {
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var run = new EngineRun(16, store: true, before: before);
        run.Store.Holds = true;
        var outcome = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly);
        run.Step();
        Assert.That((outcome.PresentTokens, run.Engine.BlockIdsOf(outcome.Id).Length), Is.EqualTo((-1, 0)));
        run.Store.Holds = false;
        run.StepUntil(() => outcome.Reason is not null);
        Assert.That((outcome.PresentTokens, outcome.CachedTokens), Is.EqualTo((96, 96)));
        run.ReleaseExport(outcome);
        run.RunUntilIdle();
    }

    [Test]
    public void Cancel_WhileLoadingForAnExport_LeavesNothingToRelease()
    {
        var before = new EngineRun(16, store: true);
        before.Run(Request(Prompt(1, 100), 5));
        var run = new EngineRun(16, store: true, before: before);
        run.Store.Holds = true;
        var outcome = run.Submit(Request(Prompt(1, 100), 5), SequenceMode.PrefillOnly);
        run.Step();
        run.Cancel(outcome);
        run.Store.Holds = false;
        run.RunUntilIdle();
    }
}
