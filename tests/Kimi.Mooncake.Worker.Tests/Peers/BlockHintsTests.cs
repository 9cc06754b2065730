using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class BlockHintsTests
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(60);

    private TestClock _clock = null!;
    private BlockHints _hints = null!;
    private Peer[] _one = null!;
    private Peer[] _other = null!;

    [SetUp]
    public void Make()
    {
        _clock = new TestClock();
        _hints = new BlockHints(4, Lifetime, _clock);
        _one = [new Peer("http://one", new PeerBlocksOptions(), _clock)];
        _other = [new Peer("http://other", new PeerBlocksOptions(), _clock)];
    }

    [Test]
    public void Add_ThenFind_GivesTheSource()
    {
        _hints.Add(PeerBlocks.Keys(0, 2), _one);

        Assert.That(Find(0), Is.SameAs(_one));
        Assert.That(Find(1), Is.SameAs(_one));
        Assert.That(Find(2), Is.Null);
    }

    [Test]
    public void Find_AfterItsLifetime_GivesNone()
    {
        _hints.Add(PeerBlocks.Keys(0, 1), _one);

        _clock.Advance(Lifetime);

        Assert.That(Find(0), Is.Null);
    }

    [Test]
    public void Add_MoreThanTheLimit_ForgetsTheOldest()
    {
        _hints.Add(PeerBlocks.Keys(0, 3), _one);
        _hints.Add(PeerBlocks.Keys(3, 2), _one);

        Assert.That(_hints.Count, Is.EqualTo(4));
        Assert.That(Find(0), Is.Null);
        Assert.That(Find(4), Is.SameAs(_one));
    }

    [Test]
    public void Add_Again_MakesItTheYoungestAndTakesTheNewSource()
    {
        _hints.Add(PeerBlocks.Keys(0, 1), _one);
        _hints.Add(PeerBlocks.Keys(0, 1), _other);
        _hints.Add(PeerBlocks.Keys(1, 3), _one);

        Assert.That(Find(0), Is.SameAs(_other));
    }

    [Test]
    public void Remove_OfOneSource_LeavesHintsOfOthers()
    {
        _hints.Add(PeerBlocks.Keys(0, 2), _one);
        _hints.Add(PeerBlocks.Keys(1, 1), _other);

        _hints.Remove(PeerBlocks.Keys(0, 2), _one);

        Assert.That(Find(0), Is.Null);
        Assert.That(Find(1), Is.SameAs(_other));
    }

    private Peer[]? Find(int number) =>
        _hints.TryFind(PeerBlocks.Key(number), out var sources) ? sources : null;
}
