using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// The other workers: they fill the blocks of imported prompts, with anything until they are done, and read those of
/// exported ones until the end. What they read must not have changed in between.
/// </summary>
internal sealed class SimulatedPeers(SimulatedModel model)
{
    private readonly Dictionary<Outcome, int[]> _imports = [];
    private readonly Dictionary<Outcome, Export> _exports = [];
    private ulong _garbage = 0xbad;

    /// <summary>Sequences whose blocks are reserved, ended or not.</summary>
    public IReadOnlyList<Outcome> Imports => [.. _imports.Keys];

    /// <summary>Sequences whose blocks are read, ended or not.</summary>
    public IReadOnlyList<Outcome> Exports => [.. _exports.Keys];

    public void Take(EngineCore engine, Outcome outcome, in EngineEvent e)
    {
        switch (e.Kind)
        {
            case EngineEventKind.Reserved:
                _imports.Add(outcome, BlockIds(engine, outcome));
                break;
            case EngineEventKind.Admitted:
                _exports.Add(outcome, new Export(BlockIds(engine, outcome)));
                break;
            case EngineEventKind.Finished when _exports.TryGetValue(outcome, out var export):
                export.Seen = Read(export.BlockIds);
                break;
        }
    }

    /// <summary>Writes into all blocks that may be written.</summary>
    public void Scribble()
    {
        foreach (var (outcome, blockIds) in _imports)
        {
            foreach (var blockId in Missing(outcome, blockIds))
            {
                model.Block(blockId).Fill(++_garbage);
            }
        }
    }

    /// <summary>Fills the blocks of a prompt with what prefill computes.</summary>
    public ImportedPrefill Fill(Outcome outcome)
    {
        Assert.That(_imports.Remove(outcome, out var blockIds), Is.True);
        var (cells, first) = SimulatedModel.Prefill(outcome.Request.PromptTokens);
        for (var p = outcome.PresentTokens; p < cells.Length; p++)
        {
            model.Cells[(blockIds![p / EngineRun.BlockTokens] * EngineRun.BlockTokens) + (p % EngineRun.BlockTokens)] =
                cells[p];
        }

        return outcome.Request.StopTokens.Contains(first)
            ? new ImportedPrefill(outcome.PresentTokens, null, FinishReason.Stop)
            : new ImportedPrefill(outcome.PresentTokens, new SampledToken(first, 0, null), null);
    }

    /// <summary>Stops writing; the blocks hold anything.</summary>
    public void Abandon(Outcome outcome) => Assert.That(_imports.Remove(outcome), Is.True);

    /// <summary>Stops reading; what was read is what the prompt's prefill computes.</summary>
    public void EndRead(Outcome outcome)
    {
        Assert.That(_exports.Remove(outcome, out var export), Is.True);
        var cells = Read(export!.BlockIds);
        if (export.Seen is not null)
        {
            Assert.That(cells, Is.EqualTo(export.Seen), $"sequence {outcome.Id}: written while it was read");
        }

        if (outcome.Reason is FinishReason.Stop or FinishReason.Length)
        {
            var expected = SimulatedModel.Prefill(outcome.Request.PromptTokens).Cells;
            Assert.That(cells.Take(expected.Length), Is.EqualTo(expected), $"what sequence {outcome.Id} computed");
        }
    }

    private static int[] BlockIds(EngineCore engine, Outcome outcome)
    {
        var blockIds = engine.BlockIdsOf(outcome.Id).ToArray();
        var blocks = (outcome.Request.PromptTokens.Count + EngineRun.BlockTokens - 1) / EngineRun.BlockTokens;
        Assert.That(blockIds, Has.Length.EqualTo(blocks).And.Unique);
        return blockIds;
    }

    private static IEnumerable<int> Missing(Outcome outcome, int[] blockIds) =>
        blockIds.Skip(outcome.PresentTokens / EngineRun.BlockTokens);

    private ulong[] Read(int[] blockIds) => blockIds.SelectMany(id => model.Block(id).ToArray()).ToArray();

    private sealed class Export(int[] blockIds)
    {
        public int[] BlockIds { get; } = blockIds;

        public ulong[]? Seen { get; set; }
    }
}
