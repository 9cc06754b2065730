using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// An engine, and callers, peers and a store that do anything they may, in an order that the seed decides.
/// </summary>
internal sealed class RandomLife
{
    private readonly Random _random;
    private readonly string _what;
    private readonly int _blocks;
    private readonly bool _store;
    private readonly bool _modes;
    private readonly Dictionary<Outcome, CancellationTokenSource> _callers = [];
    private readonly List<Outcome> _live = [];
    private readonly List<Outcome> _ended = [];
    private readonly List<Read> _reads = [];
    private bool _pausing;

    public RandomLife(int seed, int blocks, bool store, bool modes)
    {
        _random = new Random(seed);
        _what = $"seed {seed}";
        _blocks = blocks;
        _store = store;
        _modes = modes;
        var options = new EngineOptions
        {
            PrefillChunkTokens = 16 + _random.Next(100),
            RunningSequencesMax = 2 + _random.Next(12),
            SettlingSequencesMax = 3,
            SavesPendingBlocksMax = 30,
            SaveBatchBlocksMax = 5,
            Preemption = PreemptionMode.Swap,
        };
        Run = new EngineRun(blocks, options, store, new Random(seed + 1000));
    }

    public EngineRun Run { get; }

    public void Go(int requests)
    {
        var submitted = 0;
        for (var step = 0; submitted < requests || _live.Count > 0; step++)
        {
            Assert.That(step, Is.LessThan(400_000), $"{_what}: stuck, {Run.Engine.Status()}");
            // A pause until all is done, now and then: that is when generated blocks are settled.
            _pausing = _pausing ? _live.Count > 0 || !OneIn(30) : OneIn(200);
            if (submitted < requests && !_pausing && _live.Count < 20 && OneIn(3))
            {
                SubmitOne();
                submitted++;
            }

            if (_live.Count > 0 && OneIn(60))
            {
                CancelOne(_live[_random.Next(_live.Count)]);
            }

            if (_store && OneIn(200) && Run.Store.Blocks.Count > 0)
            {
                Run.Store.Lose(Run.Store.Blocks.Keys.ElementAt(_random.Next(Run.Store.Blocks.Count)));
            }

            StepPeers();
            Run.Step();
            TakeEnded();
        }

        while (Run.Peers.Imports.Count + Run.Peers.Exports.Count + _reads.Count > 0)
        {
            StepPeers();
            Run.Step();
        }
    }

    private bool OneIn(int times) => _random.Next(times) == 0;

    private void SubmitOne()
    {
        var request = RandomRequest();
        var mode = _modes ? (SequenceMode)_random.Next(3) : SequenceMode.Whole;
        if (_modes && OneIn(4))
        {
            request = ResumeTests.Resumed(request, _random.Next(request.MaxNewTokens + 1));
        }

        if (_modes)
        {
            request = request with { Tenant = $"tenant {_random.Next(3)}" };
        }

        var caller = new CancellationTokenSource();
        var outcome = Run.Submit(request, mode, caller.Token);
        _callers.Add(outcome, caller);
        _live.Add(outcome);
    }

    private void CancelOne(Outcome outcome)
    {
        switch (_random.Next(3))
        {
            case 0:
                Run.Cancel(outcome);
                break;
            case 1:
                _callers[outcome].Cancel();
                break;
            default:
                // In the middle of the next step, which may be long after the sequence has ended.
                Run.Model.During = _callers[outcome].Cancel;
                break;
        }
    }

    private void StepPeers()
    {
        Run.Peers.Scribble();
        foreach (var outcome in Run.Peers.Imports)
        {
            if (OneIn(8))
            {
                Run.CompleteImport(outcome);
            }
            else if (OneIn(60))
            {
                Run.FailImport(outcome);
            }
        }

        foreach (var outcome in Run.Peers.Exports)
        {
            if (OneIn(outcome.Reason is null ? 200 : 8))
            {
                Run.ReleaseExport(outcome);
            }
        }

        if (_modes && _ended.Count > 0 && OneIn(40))
        {
            BeginRead(_ended[_random.Next(_ended.Count)]);
        }

        foreach (var read in _reads.Where(_ => OneIn(8)).ToList())
        {
            Assert.That(Cells(read.BlockIds), Is.EqualTo(read.Cells), $"{_what}: written while it was read");
            Run.Engine.ReleaseHeld(read.BlockIds);
            _reads.Remove(read);
        }
    }

    private void BeginRead(Outcome outcome)
    {
        var keys = Keys(outcome.AllTokens);
        var from = _random.Next(keys.Length + 1);
        var blockIds = new int[keys.Length - from];
        var held = Run.Engine.HoldPublished(keys.AsSpan(from), blockIds);
        _reads.Add(new Read(blockIds[..held], Cells(blockIds[..held])));

        // Whatever is published is what a prompt of these tokens computes.
        var expected = SimulatedModel.Prefill(outcome.AllTokens.ToArray()).Cells;
        Assert.That(_reads[^1].Cells, Is.EqualTo(expected.Skip(from * BlockTokens).Take(held * BlockTokens)), _what);
    }

    private ulong[] Cells(int[] blockIds) => blockIds.SelectMany(id => Run.Model.Block(id).ToArray()).ToArray();

    private void TakeEnded()
    {
        foreach (var outcome in _live.Where(outcome => outcome.Reason is not null).ToList())
        {
            if (outcome.Reason is FinishReason.Stop or FinishReason.Length)
            {
                outcome.AssertAsAlone(_what);
                _ended.Add(outcome);
            }
            else
            {
                Assert.That(
                    outcome.Reason is FinishReason.Cancelled || outcome.Message == "the prefill worker is gone",
                    Is.True,
                    $"{_what}: {outcome.Message}");
            }

            _live.Remove(outcome);
        }
    }

    private GenerationRequest RandomRequest()
    {
        var tokensMax = Math.Min(_blocks * BlockTokens, 400);
        var maxNew = 1 + _random.Next(OneIn(4) ? 80 : 12);
        IEnumerable<int> prompt;
        if (_ended.Count > 0 && OneIn(3))
        {
            // The next turn of a conversation.
            var earlier = _ended[_random.Next(_ended.Count)];
            prompt = earlier.AllTokens.Concat(Prompt(_random.Next(100), _random.Next(20)));
        }
        else
        {
            var shared = Prompt(_random.Next(4), BlockTokens * _random.Next(7));
            prompt = shared.Concat(Prompt(_random.Next(9), 1 + _random.Next(50)));
        }

        var stop = OneIn(2) ? [_random.Next(50)] : Array.Empty<int>();
        return Request(prompt.Take(tokensMax - maxNew), maxNew, stop) with { ReportProgress = OneIn(2) };
    }

    private sealed record Read(int[] BlockIds, ulong[] Cells);
}
