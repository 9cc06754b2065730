using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// Thousands of requests with shared prefixes, cancelled at random, over pools that are too small and a store that
/// delays, refuses and loses: whatever is not cancelled comes out as if it had been alone, and nothing is left behind.
/// </summary>
[TestFixture]
internal sealed class RandomRunTests
{
    [TestCase(1, 14, 1500, true)]
    [TestCase(2, 14, 1500, true)]
    [TestCase(3, 20, 1500, false)]
    [TestCase(4, 40, 1500, true)]
    [TestCase(5, 200, 1500, true)]
    public void Step_RandomRequests_ComeOutAsAlone(int seed, int blocks, int requests, bool store)
    {
        // Arrange
        var random = new Random(seed);
        var options = new EngineOptions
        {
            PrefillChunkTokens = 16 + random.Next(100),
            RunningSequencesMax = 2 + random.Next(12),
            SettlingSequencesMax = 3,
            SavesPendingBlocksMax = 30,
            SaveBatchBlocksMax = 5,
        };
        var run = new EngineRun(blocks, options, store, new Random(seed + 1000));
        var live = new List<(Outcome Outcome, GenerationRequest Request)>();
        var ended = new List<Outcome>();
        var submitted = 0;
        var pausing = false;
        var what = $"seed {seed}";

        // Act
        for (var step = 0; submitted < requests || live.Count > 0; step++)
        {
            Assert.That(step, Is.LessThan(400_000), $"{what}: stuck, {run.Engine.Status()}");
            // A pause until all is done, now and then: that is when generated blocks are settled.
            pausing = pausing ? live.Count > 0 || random.Next(30) > 0 : random.Next(200) == 0;
            if (submitted < requests && !pausing && live.Count < 20 && random.Next(3) == 0)
            {
                var request = RandomRequest(random, ended, blocks);
                live.Add((run.Submit(request), request));
                submitted++;
            }

            if (live.Count > 0 && random.Next(60) == 0)
            {
                run.Cancel(live[random.Next(live.Count)].Outcome);
            }

            if (store && random.Next(200) == 0 && run.Store.Blocks.Count > 0)
            {
                run.Store.Lose(run.Store.Blocks.Keys.ElementAt(random.Next(run.Store.Blocks.Count)));
            }

            run.Step();
            foreach (var (outcome, _) in live.Where(l => l.Outcome.Reason is not null).ToList())
            {
                if (outcome.Reason != FinishReason.Cancelled)
                {
                    outcome.AssertAsAlone(what);
                    ended.Add(outcome);
                }

                live.RemoveAll(l => l.Outcome == outcome);
            }
        }

        run.RunUntilIdle();

        // Assert
        AssertRarePathsWereTaken(run.Counters, requests, blocks, store);
    }

    private static void AssertRarePathsWereTaken(EngineCounters counters, int requests, int blocks, bool store)
    {
        TestContext.Out.WriteLine(counters);
        Assert.That(counters.FinishedStop + counters.FinishedLength + counters.FinishedCancelled, Is.EqualTo(requests));
        Assert.That(counters.CachedTokens, Is.GreaterThan(0));
        Assert.That(counters.BlocksEvicted, Is.GreaterThan(0));
        Assert.That(counters.SettledTokens, Is.GreaterThan(0));
        if (blocks < 40)
        {
            Assert.That(counters.Preemptions, Is.GreaterThan(0));
            Assert.That(counters.ReplayedTokens, Is.GreaterThan(0));
            Assert.That(counters.SettlingDropped, Is.GreaterThan(0));
        }

        if (store)
        {
            Assert.That(counters.BlocksLoaded, Is.GreaterThan(0));
            Assert.That(counters.BlocksLoadMissed, Is.GreaterThan(0));
            Assert.That(counters.BlocksSaveFailed, Is.GreaterThan(0));
        }
    }

    private static GenerationRequest RandomRequest(Random random, List<Outcome> ended, int blocks)
    {
        var tokensMax = Math.Min(blocks * BlockTokens, 400);
        var maxNew = 1 + random.Next(random.Next(4) == 0 ? 80 : 12);
        IEnumerable<int> prompt;
        if (ended.Count > 0 && random.Next(3) == 0)
        {
            // The next turn of a conversation.
            var earlier = ended[random.Next(ended.Count)];
            var question = Prompt(random.Next(100), random.Next(20));
            prompt = earlier.Request.PromptTokens.Concat(earlier.Tokens).Concat(question);
        }
        else
        {
            var shared = Prompt(random.Next(4), BlockTokens * random.Next(7));
            prompt = shared.Concat(Prompt(random.Next(9), 1 + random.Next(50)));
        }

        var stop = random.Next(2) == 0 ? [random.Next(50)] : Array.Empty<int>();
        return Request(prompt.Take(tokensMax - maxNew), maxNew, stop) with { ReportProgress = random.Next(2) == 0 };
    }
}
