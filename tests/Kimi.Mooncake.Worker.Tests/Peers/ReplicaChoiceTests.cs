using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class ReplicaChoiceTests
{
    private static readonly PeerBlocksOptions Options = new() { SlowFactor = 4, SlowMsMin = 20 };

    private TestClock _clock = null!;
    private Peer _first = null!;
    private Peer _second = null!;

    [SetUp]
    public void Make()
    {
        _clock = new TestClock();
        _first = new Peer("http://first", Options, _clock);
        _second = new Peer("http://second", Options, _clock);
    }

    [Test]
    public void Order_NothingKnown_IsThatOfThePlacement() => RequireOrder(_first, _second);

    [Test]
    public void Order_OneOnThisMachine_ComesFirstUnlessItIsBusy()
    {
        _second.IsNear = true;
        RequireOrder(_second, _first);

        for (var call = 0; call < 5; call++)
        {
            _second.Load.Begin();
        }

        RequireOrder(_first, _second);
        _second.Load.End();
        _second.Load.End();
        RequireOrder(_second, _first);
    }

    [Test]
    public void Order_OneWithFewerCalls_ComesFirst()
    {
        _first.Load.Begin();

        RequireOrder(_second, _first);
    }

    [TestCase(10, 100, true)]
    [TestCase(10, 39, false)]
    [TestCase(1, 15, false)]
    public void Order_OneThatAnswersSlowly_ComesLastForAWhile(int fastMs, int slowMs, bool isSlow)
    {
        _first.Load.Answered(TimeSpan.FromMilliseconds(slowMs));
        _second.Load.Answered(TimeSpan.FromMilliseconds(fastMs));

        RequireOrder(isSlow ? [_second, _first] : [_first, _second]);
        _clock.Advance(TimeSpan.FromMilliseconds(Options.RateLifetimeMs));
        RequireOrder(_first, _second);
    }

    [Test]
    public void Order_OneThatDidNotAnswer_ComesLast()
    {
        _first.Load.Answered(TimeSpan.FromMilliseconds(1));
        _second.Load.Answered(TimeSpan.FromMilliseconds(1));
        _first.Load.Silent(TimeSpan.FromMilliseconds(50));

        RequireOrder(_second, _first);
    }

    [Test]
    public void Order_OneThatSendsSlowly_ComesLast()
    {
        _first.Rate.Add(1000, TimeSpan.FromSeconds(1));
        _second.Rate.Add(5000, TimeSpan.FromSeconds(1));

        RequireOrder(_second, _first);
    }

    [Test]
    public void Order_OneThatFailed_ComesLastOfAll()
    {
        _second.Load.Silent(TimeSpan.FromSeconds(5));
        _first.Breaker.Fail();
        _first.Breaker.Fail();

        RequireOrder(_second, _first);
    }

    private void RequireOrder(params Peer[] expected) =>
        Assert.That(ReplicaChoice.Order([_first, _second], Options), Is.EqualTo(expected));
}
