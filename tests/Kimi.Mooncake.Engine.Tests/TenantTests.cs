using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>How tenants share a worker.</summary>
[TestFixture]
internal sealed class TenantTests
{
    [Test]
    public void Step_OneTenantFloodsTheQueue_AnothersRequestIsNext()
    {
        // Arrange
        var run = new EngineRun(64, new EngineOptions { RunningSequencesMax = 1, SettleGeneratedBlocks = false });
        var flood = Enumerable.Range(1, 20).Select(i => run.Submit(Of("a", Request(Prompt(i, 50), 3)))).ToList();
        run.StepUntil(() => flood[4].Reason is not null);
        var late = run.Submit(Of("b", Request(Prompt(30, 50), 3)));

        // Act
        run.StepUntil(() => late.Reason is not null);

        // Assert
        Assert.That(flood.Count(outcome => outcome.Reason is not null), Is.LessThanOrEqualTo(7));
        run.RunUntilIdle();
        Assert.That(run.Order.Where(outcome => outcome != late), Is.EqualTo(flood), "in order of arrival");
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Step_TenantsThatAlwaysWait_AreAdmittedEqualTokens(int seed)
    {
        // Arrange: tenants with prompts of different sizes, all waiting from the start; a fourth comes late.
        var random = new Random(seed);
        var options = new EngineOptions
        {
            RunningSequencesMax = 2,
            WaitingSequencesMax = 10_000,
            SettleGeneratedBlocks = false,
        };
        var run = new EngineRun(256, options);
        int[] promptMax = [30, 100, 300, 60];
        for (var tenant = 0; tenant < 3; tenant++)
        {
            SubmitMany(run, random, tenant, promptMax[tenant], 12_000);
        }

        run.StepUntil(() => run.Order.Count >= 60);
        var before = Admitted(run);
        SubmitMany(run, random, 3, promptMax[3], 12_000);

        // Act
        run.StepUntil(() => Admitted(run).Sum() >= before.Sum() + 12_000);

        // Assert: two tenants that wait differ by their largest prompts; those that run have had their turn.
        var after = Admitted(run);
        var served = after.Zip(before, (a, b) => a - b).ToArray();
        TestContext.Out.WriteLine($"seed {seed}: {string.Join(' ', before)}, then {string.Join(' ', served)}");
        Assert.That(before.Take(3).Max() - before.Take(3).Min(), Is.LessThanOrEqualTo(2 * 300), $"seed {seed}");
        Assert.That(served.Max() - served.Min(), Is.LessThanOrEqualTo(2 * 300), $"seed {seed}");
        run.RunUntilIdle();
        foreach (var outcome in run.Order)
        {
            outcome.AssertAsAlone($"seed {seed}");
        }
    }

    [Test]
    public void Step_LargeRequestAmongManySmallOnes_IsNotStarved()
    {
        // Arrange: the large one needs the pool nearly empty; small ones of another tenant keep coming.
        var run = new EngineRun(16, new EngineOptions { SettleGeneratedBlocks = false });
        for (var i = 0; i < 4; i++)
        {
            run.Submit(Of("small", Request(Prompt(i, 20), 10)));
        }

        run.Step();
        var large = run.Submit(Of("large", Request(Prompt(50, 200), 20)));

        // Act
        var after = 0;
        run.StepUntil(() =>
        {
            if (run.Engine.Status().Waiting < 5)
            {
                run.Submit(Of("small", Request(Prompt(++after % 40, 20), 10)));
            }

            return large.Reason is not null;
        });

        // Assert
        large.AssertAsAlone();
        run.RunUntilIdle();
    }

    [Test]
    public void Step_TwoTenantsPrefill_ShareTheChunkEqually()
    {
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 33 });
        run.Submit(Of("a", Request(Prompt(1, 100), 1)));
        run.Submit(Of("a", Request(Prompt(2, 100), 1)));
        run.Submit(Of("b", Request(Prompt(3, 30), 1)));
        run.RunUntilIdle();
        Assert.That(run.Model.Steps.Take(3), Is.EqualTo(new[]
        {
            "1:P0+17 3:P0+16", "1:P17+19 3:P16+14!", "1:P36+33",
        }));
    }

    [Test]
    public void Step_MoreTenantsThanTokensInAChunk_AllGetOn()
    {
        var run = new EngineRun(64, new EngineOptions { PrefillChunkTokens = 4 });
        var all = Enumerable.Range(1, 9).Select(i => run.Submit(Of($"t{i}", Request(Prompt(i, 12), 1)))).ToList();
        for (var i = 0; i < 3; i++)
        {
            run.Step();
        }

        var begun = run.Model.Steps.SelectMany(s => s.Split(' ')).Select(s => s.Split(':')[0]).Distinct();
        Assert.That(begun.Count(), Is.EqualTo(9));
        run.RunUntilIdle();
        all.ForEach(outcome => outcome.AssertAsAlone());
    }

    private static GenerationRequest Of(string tenant, GenerationRequest request) => request with { Tenant = tenant };

    private static void SubmitMany(EngineRun run, Random random, int tenant, int promptMax, int tokens)
    {
        while (tokens > 0)
        {
            var prompt = 1 + random.Next(promptMax);
            run.Submit(Of($"t{tenant}", Request(Prompt(random.Next(1000), prompt), 1 + random.Next(4))));
            tokens -= prompt;
        }
    }

    /// <summary>Prompt tokens of each tenant's ended sequences.</summary>
    private static int[] Admitted(EngineRun run) => Enumerable.Range(0, 4)
        .Select(t => run.Order.Where(o => o.Request.Tenant == $"t{t}").Sum(o => o.Request.PromptTokens.Count))
        .ToArray();
}
