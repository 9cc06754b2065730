using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class CircuitBreakerTests
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private TestClock _clock = null!;
    private CircuitBreaker _breaker = null!;

    [SetUp]
    public void Make()
    {
        _clock = new TestClock();
        _breaker = new CircuitBreaker(3, Pause, _clock);
    }

    [Test]
    public void Fail_FewerThanTheLimitInARow_StaysClosed()
    {
        _breaker.Fail();
        _breaker.Fail();
        _breaker.Succeed();
        _breaker.Fail();
        _breaker.Fail();

        Assert.That(_breaker.State, Is.EqualTo(BreakerState.Closed));
        Assert.That(_breaker.TryEnter());
    }

    [Test]
    public void Fail_AsOftenAsTheLimit_LetsNobodyInUntilThePauseIsOver()
    {
        Open();

        Assert.That(_breaker.TryEnter(), Is.False);
        _clock.Advance(Pause - TimeSpan.FromMilliseconds(1));
        Assert.That(_breaker.WouldEnter, Is.False);
        Assert.That(_breaker.TryEnter(), Is.False);
    }

    [Test]
    public void TryEnter_AfterThePause_LetsOneIn()
    {
        Open();
        _clock.Advance(Pause);

        Assert.That(_breaker.WouldEnter);
        Assert.That(_breaker.TryEnter());
        Assert.That(_breaker.TryEnter(), Is.False);
        Assert.That(_breaker.WouldEnter, Is.False);
    }

    [Test]
    public void Succeed_OfTheOneThatWasLetIn_Closes()
    {
        Open();
        _clock.Advance(Pause);
        _breaker.TryEnter();

        Assert.That(_breaker.Succeed());

        Assert.That(_breaker.State, Is.EqualTo(BreakerState.Closed));
    }

    [Test]
    public void Fail_OfTheOneThatWasLetIn_OpensForAnotherPause()
    {
        Open();
        _clock.Advance(Pause);
        _breaker.TryEnter();

        Assert.That(_breaker.Fail(), Is.False, "it was not closed");

        Assert.That(_breaker.TryEnter(), Is.False);
        _clock.Advance(Pause);
        Assert.That(_breaker.TryEnter());
    }

    [Test]
    public void GiveUp_OfTheOneThatWasLetIn_LetsTheNextIn()
    {
        Open();
        _clock.Advance(Pause);
        _breaker.TryEnter();

        _breaker.GiveUp();

        Assert.That(_breaker.TryEnter());
    }

    private void Open()
    {
        _breaker.Fail();
        _breaker.Fail();
        Assert.That(_breaker.Fail(), "it was closed");
        Assert.That(_breaker.State, Is.EqualTo(BreakerState.Open));
    }
}
