using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>Which tokens of a prompt take absorbed attention where blocks are longer than such a tail may be.</summary>
[TestFixture]
internal sealed class PromptTailTests
{
    private static readonly KvLayout Layout = new(KvElementType.F32, 1, 4, 4, KvLayout.BlockTokensMax);

    [TestCase(1, 0)]
    [TestCase(128, 0)]
    [TestCase(129, 129)]
    [TestCase(511, 511)]
    [TestCase(512, 512)]
    [TestCase(512 + 128, 512)]
    [TestCase(512 + 129, 512 + 129)]
    public void Step_PromptInAnyChunks_ExpandsTheSameTokens(int promptLength, int expandedEnd)
    {
        foreach (var chunk in new[] { 1024, 100, 7 })
        {
            // Arrange
            var runner = new AbsorbedRunner();
            var engine = new EngineCore(
                new EngineOptions { PrefillChunkTokens = chunk }, Layout, "model", 4, runner, connector: null);
            engine.Submit(Request(Prompt(1, promptLength), 1), TimeSpan.Zero);

            // Act
            while (engine.Step(TimeSpan.Zero) != StepOutcome.Idle)
            {
                engine.ClearEvents();
            }

            // Assert
            Assert.That(
                runner.Absorbed,
                Is.EqualTo(Enumerable.Range(expandedEnd, promptLength - expandedEnd)),
                $"chunks of {chunk}");
        }
    }

    /// <summary>Notes the positions of prompts that are to take absorbed attention.</summary>
    private sealed class AbsorbedRunner : IModelRunner
    {
        public List<int> Absorbed { get; } = [];

        public void Execute(StepPlan plan, StepResult result)
        {
            result.Reset(plan.Count);
            foreach (var slice in plan.Slices)
            {
                Absorbed.AddRange(
                    Enumerable.Range(slice.Start + slice.Count - slice.AbsorbedRows, slice.AbsorbedRows));
            }
        }
    }
}
