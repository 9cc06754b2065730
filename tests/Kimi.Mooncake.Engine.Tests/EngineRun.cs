using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>An engine over the simulated model; its integrity is verified after every call.</summary>
internal sealed class EngineRun
{
    public const int BlockTokens = 16;

    public static readonly KvLayout Layout = new(KvElementType.F32, 1, 4, 4, BlockTokens);

    private readonly Dictionary<long, Outcome> _outcomes = [];
    private TimeSpan _now;

    public EngineRun(
        int blocks, EngineOptions? options = null, bool store = false, Random? faults = null, EngineRun? before = null)
    {
        Model = new SimulatedModel(Layout, blocks);
        Store = new SimulatedStore(Model, faults) { Blocks = before?.Store.Blocks ?? [] };
        Engine = new EngineCore(options ?? new EngineOptions(), Layout, "model", blocks, Model, store ? Store : null);
    }

    public SimulatedModel Model { get; }

    public SimulatedStore Store { get; }

    public EngineCore Engine { get; }

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

    public Outcome Submit(GenerationRequest request)
    {
        var admission = Engine.Submit(request, _now);
        Assert.That(admission.Reason, Is.EqualTo(AdmissionReason.Accepted));
        var outcome = new Outcome(admission.SequenceId, request);
        _outcomes.Add(outcome.Id, outcome);
        Drain();
        return outcome;
    }

    public void Cancel(Outcome outcome)
    {
        Engine.Cancel(outcome.Id);
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
            _outcomes[e.SequenceId].Add(e);
        }

        Engine.ClearEvents();
        Engine.CheckIntegrity();
    }
}

/// <summary>What happened to one request, its events checked for their order.</summary>
internal sealed class Outcome(long id, GenerationRequest request)
{
    public long Id { get; } = id;

    public GenerationRequest Request { get; } = request;

    public List<int> Tokens { get; } = [];

    public List<int> Progress { get; } = [];

    public int CachedTokens { get; private set; } = -1;

    public FinishReason? Reason { get; private set; }

    public string? Message { get; private set; }

    public void Add(EngineEvent e)
    {
        Assert.That(Reason, Is.Null, "an event after the last");
        switch (e.Kind)
        {
            case EngineEventKind.PrefillProgressed:
                Assert.That(CachedTokens, Is.EqualTo(-1), "progress after the prefill was finished");
                Progress.Add(e.ProcessedTokens);
                break;
            case EngineEventKind.PrefillFinished:
                Assert.That(CachedTokens, Is.EqualTo(-1), "the prefill was finished twice");
                Assert.That(e.PromptTokens, Is.EqualTo(Request.PromptTokens.Count));
                CachedTokens = e.CachedTokens;
                break;
            case EngineEventKind.TokenGenerated:
                Assert.That(CachedTokens, Is.GreaterThanOrEqualTo(0), "a token before the prefill was finished");
                Tokens.Add(e.Token.TokenId);
                break;
            default:
                Reason = e.Reason;
                Message = e.Message;
                break;
        }
    }

    public void AssertAsAlone(string what = "")
    {
        var (tokens, reason) = SimulatedModel.Alone(Request);
        Assert.That(Tokens, Is.EqualTo(tokens), $"output of sequence {Id} {what}");
        Assert.That(Reason, Is.EqualTo(reason), what);
    }
}
