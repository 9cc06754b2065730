using Kimi.Mooncake.Core;
using static Kimi.Mooncake.Engine.Tests.EngineRun;

namespace Kimi.Mooncake.Engine.Tests;

[TestFixture]
internal sealed class RetentionTests
{
    private static readonly EngineOptions Options = new() { SettleGeneratedBlocks = false };
    private static readonly BlockRetention Hour = new(PinKind.Soft, PinSeconds: 3600);

    [Test]
    public void Step_RetainedPrefixes_SaveCarriesTheStrongestThatCoversEachBlock()
    {
        // Arrange
        var run = new EngineRun(16, Options, store: true);
        var request = Request(Prompt(1, 100), 1) with
        {
            Tenant = "acme",
            Retain =
            [
                new RetainedPrefix(40, new BlockRetention(PinKind.Hard, PinSeconds: 60), BlockClass.Prompt),
                new RetainedPrefix(70, new BlockRetention(PinKind.Soft, 600, 7200, 1), BlockClass.Context),
            ],
        };

        // Act
        run.Run(request);

        // Assert
        var saved = Keys(Prompt(1, 100)).Select(key => run.Store.Attributes[key]).ToArray();
        var both = new BlockAttributes(
            "acme", new BlockRetention(PinKind.Hard, 60, Priority: 1), BlockClass.Context);
        var longer = new BlockAttributes("acme", new BlockRetention(PinKind.Soft, 600, 7200, 1), BlockClass.Context);
        var rest = new BlockAttributes("acme", default, BlockClass.Prompt);
        Assert.That(saved, Is.EqualTo(new[] { both, both, longer, longer, rest, rest }), "40 and 70 tokens fill 2, 4");
        Assert.That(run.Store.Retained, Is.Empty, "the saves have said it");
    }

    [Test]
    public void Step_LongPrompt_SaveNamesTheGroupOfEachBlock()
    {
        var run = new EngineRun(64, Options, store: true);
        run.Run(Request(Prompt(1, 40 * EngineRun.BlockTokens), 1));

        var keys = Keys(Prompt(1, 40 * EngineRun.BlockTokens));
        Assert.That(
            keys.Select(key => Array.IndexOf(keys, run.Store.Groups[key])),
            Is.EqualTo(Enumerable.Range(0, 40).Select(block => block < 8 ? 0 : block < 16 ? 8 : block < 32 ? 16 : 32)));
    }

    [Test]
    public void Step_PrefixLongerThanThePrompt_CoversWhatThePromptFills()
    {
        var run = new EngineRun(16, store: true);
        run.Run(Request(Prompt(1, 40), 20) with { Retain = [new RetainedPrefix(1000, Hour, BlockClass.Context)] });
        Assert.That(
            run.Store.Attributes.Values.Count(attributes => attributes.Retention == Hour), Is.EqualTo(2),
            "generated tokens are not part of it");
        Assert.That(run.Store.Attributes, Has.Count.EqualTo(3));
    }

    [Test]
    public void Step_BlocksStoredAlready_AreRetainedOnceThePromptIsComplete()
    {
        // Arrange
        var run = new EngineRun(16, Options, store: true);
        run.Run(Request(Prompt(1, 64), 1));
        var asked = Request(Prompt(1, 100), 1) with { Retain = [new RetainedPrefix(100, Hour, BlockClass.Context)] };

        // Act
        run.Run(asked);

        // Assert
        var keys = Keys(Prompt(1, 100));
        Assert.That(
            run.Store.Retained, Is.EqualTo(keys.Take(4).Select(key => (key, Hour, BlockClass.Context))));
        Assert.That(
            keys.Skip(4).Select(key => run.Store.Attributes[key].Retention), Is.EqualTo(new[] { Hour, Hour }));

        // Once more: the time begins anew.
        run.Store.Retained.Clear();
        run.Run(asked);
        Assert.That(run.Store.Retained.Select(entry => entry.Key), Is.EqualTo(keys));
    }

    [Test]
    public void Step_BlocksComeFromTheStore_AreRetained()
    {
        var before = new EngineRun(16, Options, store: true);
        before.Run(Request(Prompt(1, 100), 1));
        var run = new EngineRun(16, Options, store: true, before: before);
        run.Run(Request(Prompt(1, 100), 1) with { Retain = [new RetainedPrefix(50, Hour, BlockClass.Prompt)] });
        Assert.That(run.Counters.BlocksLoaded, Is.EqualTo(6));
        Assert.That(
            run.Store.Retained.Select(entry => entry.Key), Is.EqualTo(Keys(Prompt(1, 100)).Take(3)));
    }

    [Test]
    public void Step_SaveOfAnotherRequestIsUnderWay_RetainsWhenItIsDone()
    {
        var run = new EngineRun(32, Options, store: true);
        run.Store.Holds = true;
        var first = run.Submit(Request(Prompt(1, 64), 1));
        run.StepUntil(() => first.Reason is not null && run.Store.UnderWay == 1);
        var second = run.Submit(
            Request(Prompt(1, 70), 1) with { Retain = [new RetainedPrefix(70, Hour, BlockClass.Context)] });
        run.StepUntil(() => second.Reason is not null);
        Assert.That(run.Store.Retained, Is.Empty);

        run.Store.Holds = false;
        run.RunUntilIdle();

        Assert.That(
            run.Store.Retained.Select(entry => entry.Key), Is.EquivalentTo(Keys(Prompt(1, 64))));
        Assert.That(run.Store.Retained.All(entry => entry.Retention == Hour));
    }

    [Test]
    public void Step_SaveOfAnotherRequestWaits_CarriesTheRetentionToo()
    {
        var run = new EngineRun(32, Options, store: true);
        run.Store.Refuses = true;
        var first = run.Submit(Request(Prompt(1, 64), 1) with { Tenant = "first" });
        run.StepUntil(() => first.Reason is not null);
        var second = run.Submit(
            Request(Prompt(1, 70), 1) with
            {
                Tenant = "second",
                Retain = [new RetainedPrefix(70, Hour, BlockClass.Context)],
            });
        run.StepUntil(() => second.Reason is not null);
        run.Store.Refuses = false;
        run.RunUntilIdle();
        var expected = new BlockAttributes("first", Hour, BlockClass.Context);
        Assert.That(run.Store.Attributes.Values, Is.EqualTo(Enumerable.Repeat(expected, 4)));
        Assert.That(run.Store.Retained, Is.Empty);
    }

    [Test]
    public void Step_BlocksFoundInThePool_AreTouchedInTheStore()
    {
        var run = new EngineRun(16, Options, store: true);
        run.Run(Request(Prompt(1, 64), 1));
        Assert.That(run.Store.Touched, Is.Empty);
        run.Run(Request(Prompt(1, 100), 1));
        Assert.That(run.Store.Touched, Is.EqualTo(Keys(Prompt(1, 64))));
    }

    [TestCase(SequenceMode.PrefillOnly)]
    [TestCase(SequenceMode.DecodeOnly)]
    public void Step_PromptOfTwoWorkers_EitherSavesWithItsAttributes(SequenceMode mode)
    {
        // Arrange
        var run = new EngineRun(16, Options, store: true);
        var request = Request(Prompt(1, 64), 2) with
        {
            Tenant = "acme",
            Retain = [new RetainedPrefix(64, Hour, BlockClass.Context)],
        };

        // Act
        var outcome = run.Submit(request, mode);
        run.Step();
        if (mode == SequenceMode.DecodeOnly)
        {
            run.CompleteImport(outcome);
        }

        run.StepUntil(() => outcome.Reason is not null);
        if (mode == SequenceMode.PrefillOnly)
        {
            run.ReleaseExport(outcome);
        }

        run.RunUntilIdle();

        // Assert
        var expected = new BlockAttributes("acme", Hour, BlockClass.Context);
        Assert.That(run.Store.Attributes.Values, Is.EqualTo(Enumerable.Repeat(expected, 4)));
    }
}
