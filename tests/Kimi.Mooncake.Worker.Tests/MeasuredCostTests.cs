using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>What a runner makes of the time that its steps take.</summary>
internal sealed class MeasuredCostTests
{
    private const int DocumentTokens = 4_096;
    private const int Questions = 40;
    private const double TokenSeconds = 3e-4;
    private const double PairSeconds = 1e-6;

    [Test]
    public void Times_ShortQuestionsAboutLongDocuments_FindTheTermsOfAllPrompts()
    {
        using var model = LoadedModel.Open(new ModelOptions { Path = BuiltInModel.Path });
        using var kernels = new CpuKernels(2);
        var layout = KimiModel.LayoutOf(model.Config, 64);
        using var kv = new PagedKvMemory(layout, 512);
        using var network = new KimiModel(model.Source, kernels, rowsMax: 600, logitsRowsMax: 8);
        var clock = new StepClock();
        var runner = new KimiModelRunner(network, kv, clock);
        var engine = new EngineCore(
            new EngineOptions { PrefillChunkTokens = 512 }, layout, model.Fingerprint, kv.BlockCount,
            new TimedRunner(runner, clock, model.Config), connector: null);
        var document = WorkerSession.Document(DocumentTokens, 11, "");
        var random = new Random(12);

        for (var i = 0; i < Questions; i++)
        {
            var question = WorkerSession.Document(random.Next(10, 60), 100 + i, "");
            engine.Submit(
                new GenerationRequest
                {
                    RequestId = $"r{i}",
                    PromptTokens = WorkerSession.TokensOf(document[..DocumentTokens] + question),
                    MaxNewTokens = 1,
                },
                TimeSpan.Zero);
            RunToTheEnd(engine);
        }

        var cost = runner.Times.PrefillCost;
        Assert.That(cost.Samples, Is.GreaterThan(Questions));
        Assert.That(cost.TokenSeconds, Is.EqualTo(TokenSeconds).Within(10).Percent);
        Assert.That(cost.PairSeconds, Is.EqualTo(PairSeconds).Within(10).Percent);
    }

    private static void RunToTheEnd(EngineCore engine)
    {
        var hasEnded = false;
        while (!hasEnded)
        {
            engine.Step(TimeSpan.Zero);
            foreach (ref readonly var engineEvent in engine.Events)
            {
                hasEnded |= engineEvent.Kind == EngineEventKind.Finished;
            }

            engine.ClearEvents();
        }
    }

    /// <summary>Stands, but that after one question it goes on by a step's time.</summary>
    private sealed class StepClock : TimeProvider
    {
        private long _now;
        private long _step;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public void SetStep(double seconds) => _step = TimeSpan.FromSeconds(seconds).Ticks;

        public override long GetTimestamp()
        {
            var now = _now;
            (_now, _step) = (_now + _step, 0);
            return now;
        }
    }

    /// <summary>Lets every step take what its rows and pairs cost.</summary>
    private sealed class TimedRunner(KimiModelRunner runner, StepClock clock, KimiConfig config) : IModelRunner
    {
        // Multiplications of a pair in the absorbed and in the expanded form.
        private readonly double _weight = (config.KvLoraRank + config.RopeDimension + config.KvLoraRank)
            / (double)(config.NopeDimension + config.RopeDimension + config.ValueDimension);

        public void Execute(StepPlan plan, StepResult result)
        {
            var seconds = 0.0;
            foreach (ref readonly var slice in plan.Slices)
            {
                var end = slice.Start + slice.Count;
                var absorbed = end - slice.AbsorbedRows;
                seconds += (slice.Count * TokenSeconds) + (PairSeconds
                    * (PrefillCost.Pairs(slice.Start, absorbed) + (_weight * PrefillCost.Pairs(absorbed, end))));
            }

            clock.SetStep(seconds);
            runner.Execute(plan, result);
        }
    }
}
