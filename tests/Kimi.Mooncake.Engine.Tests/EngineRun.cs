using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>An engine over the simulated model; its integrity is verified after every call.</summary>
internal sealed class EngineRun
{
    public const int BlockTokens = 16;

    public static readonly KvLayout Layout = new(KvElementType.F32, 1, 4, 4, BlockTokens);

    private readonly Dictionary<long, Outcome> _outcomes = [];
    private readonly HashSet<BlockKey> _published = [];
    private TimeSpan _now;

    public EngineRun(
        int blocks, EngineOptions? options = null, bool store = false, Random? faults = null, EngineRun? before = null)
    {
        Model = new SimulatedModel(Layout, blocks);
        Store = new SimulatedStore(Model, faults) { Blocks = before?.Store.Blocks ?? [] };
        Peers = new SimulatedPeers(Model);
        Engine = new EngineCore(
            options ?? new EngineOptions(), Layout, "model", blocks, Model, store ? Store : null, recordKvEvents: true);
    }

    public SimulatedModel Model { get; }

    public SimulatedStore Store { get; }

    public SimulatedPeers Peers { get; }

    public EngineCore Engine { get; }

    /// <summary>Sequences that have ended, in the order of their ends.</summary>
    public List<Outcome> Order { get; } = [];

    public EngineCounters Counters => Engine.Status().Counters;

    public static GenerationRequest Request(IEnumerable<int> prompt, int maxNew, params int[] stop) => new()
    {
        RequestId = "r",
        PromptTokens = prompt.ToArray(),
        MaxNewTokens = maxNew,
        StopTokens = stop,
    };

    /// <summary>Tokens that depend on the seed; equal seeds share all of the shorter prompt.</summary>
    public static IEnumerable<int> Prompt(int seed, int length) =>
        Enumerable.Range(0, length).Select(i => ((seed * 7919) + (i * 31)) % 50);

    public static BlockKey[] Keys(IEnumerable<int> tokens)
    {
        var chain = new BlockKeyChain(BlockKeyChain.Root("model", Layout, ""), BlockTokens);
        chain.Extend(tokens.ToArray());
        return chain.Keys.ToArray();
    }

    public Outcome Submit(
        GenerationRequest request,
        SequenceMode mode = SequenceMode.Whole,
        CancellationToken cancellation = default)
    {
        var admission = Engine.Submit(request, _now, mode, cancellation);
        Assert.That(admission.Reason, Is.EqualTo(AdmissionReason.Accepted));
        var outcome = new Outcome(admission.SequenceId, request, mode);
        _outcomes.Add(outcome.Id, outcome);
        Drain();
        return outcome;
    }

    public void Cancel(Outcome outcome)
    {
        Engine.Cancel(outcome.Id);
        Drain();
    }

    /// <summary>The other worker is done with the prompt: all of it is in the blocks.</summary>
    public void CompleteImport(Outcome outcome)
    {
        Engine.CompleteImport(outcome.Id, Peers.Fill(outcome), _now);
        Drain();
    }

    public void FailImport(Outcome outcome)
    {
        Peers.Abandon(outcome);
        Engine.FailImport(outcome.Id, "the prefill worker is gone");
        Drain();
    }

    public void ReleaseExport(Outcome outcome)
    {
        Peers.EndRead(outcome);
        Engine.ReleaseExport(outcome.Id);
        Drain();
    }

    public StepOutcome Step()
    {
        _now += TimeSpan.FromMilliseconds(1);
        var result = Engine.Step(_now);
        Drain();
        return result;
    }

    public void RunUntilIdle(int stepsMax = 100_000)
    {
        for (var i = 0; i < stepsMax; i++)
        {
            if (Step() == StepOutcome.Idle)
            {
                AssertEmpty();
                return;
            }
        }

        Assert.Fail($"not idle after {stepsMax} steps: {Engine.Status()}");
    }

    /// <summary>Steps until a condition holds.</summary>
    public void StepUntil(Func<bool> condition)
    {
        for (var i = 0; i < 10_000; i++)
        {
            if (condition())
            {
                return;
            }

            Step();
        }

        Assert.Fail($"the condition never held: {Engine.Status()}");
    }

    public Outcome Run(GenerationRequest request)
    {
        var outcome = Submit(request);
        RunUntilIdle();
        outcome.AssertAsAlone();
        return outcome;
    }

    public void AssertEmpty()
    {
        var status = Engine.Status();
        Assert.That(status.BlocksHeld, Is.Zero);
        Assert.That(status.BlocksFree + status.BlocksCached, Is.EqualTo(status.BlocksTotal));
        Assert.That(_published, Has.Count.EqualTo(status.BlocksCached), "what the KV events add up to");
        Assert.That((status.Waiting, status.Running, status.Loading), Is.EqualTo((0, 0, 0)));
        Assert.That((status.Settling, status.SavingBlocks, status.SavesPendingBlocks), Is.EqualTo((0, 0, 0)));
        Assert.That((status.Importing, status.Exporting, status.Swapping), Is.EqualTo((0, 0, 0)));
        Assert.That(status.QueuedPrefillTokens, Is.Zero);
        Assert.That(Store.SwapCount, Is.Zero, "nothing stays put aside");
        Assert.That(_outcomes.Values.Where(o => o.Reason is null), Is.Empty, "every sequence has ended");
    }

    private void Drain()
    {
        foreach (var e in Engine.Events)
        {
            var outcome = _outcomes[e.SequenceId];
            outcome.Add(e);
            Peers.Take(Engine, outcome, e);
            if (outcome.Reason is not null)
            {
                Order.Add(outcome);
            }
        }

        Engine.ClearEvents();
        foreach (var e in Engine.KvEvents)
        {
            Assert.That(e.Removed ? _published.Remove(e.Key) : _published.Add(e.Key), Is.True, "each once, in turn");
        }

        Engine.ClearKvEvents();
        Engine.CheckIntegrity();
    }
}
