using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>The keys of a node, as a reader at any distance sees them.</summary>
[TestFixture]
internal sealed class KvEventFeedTests
{
    [Test]
    public void Snapshot_AfterRemovals_HasTheRestInTheOrderOfTheirArrival()
    {
        var feed = new KvEventFeed();
        feed.Publish([Added(1), Added(2), Added(3)]);
        feed.Publish([Removed(3), Removed(2), Added(4), Added(2)]);

        var (keys, sequence) = feed.Snapshot();

        Assert.That(keys, Is.EqualTo(new[] { Key(1), Key(4), Key(2) }));
        Assert.That(sequence, Is.EqualTo(7));
    }

    [Test]
    public void Read_FromANumber_GivesWhatFollows()
    {
        var feed = new KvEventFeed();
        feed.Publish([Added(1), Added(2), Removed(2)]);
        var events = new KvEvent[8];

        Assert.That(feed.TryRead(2, events, out var count));

        Assert.That(events.Take(count), Is.EqualTo(new[] { Added(2), Removed(2) }));
        Assert.That(feed.TryRead(4, events, out count));
        Assert.That(count, Is.Zero);
    }

    [TestCase(2, 3, true)]
    [TestCase(1, 3, false)]
    [TestCase(0, 2, true)]
    public void Read_BehindTheLog_IsAGap(int last, int length, bool isThere)
    {
        var feed = new KvEventFeed(logEventsMax: 3);
        feed.Publish([.. Enumerable.Range(1, 4).Select(Added)]);
        feed = last == 0 ? new KvEventFeed(length) : feed;

        Assert.That(feed.TryRead(Math.Max(1, last), new KvEvent[4], out _), Is.EqualTo(isThere));
    }

    [Test]
    public void Publish_MoreKeysThanMayBe_LeavesOutTheRestAndWhatBecomesOfIt()
    {
        var feed = new KvEventFeed(keysMax: 2);

        feed.Publish([Added(1), Added(2), Added(3), Removed(3), Added(2), Removed(1), Added(4)]);

        Assert.That(feed.Snapshot().Keys, Is.EqualTo(new[] { Key(2), Key(4) }));
        Assert.That(feed.Snapshot().Sequence, Is.EqualTo(5), "what was left out has no number");
        Assert.That((feed.Count, feed.Untold), Is.EqualTo((2, 1)));
    }

    [Test]
    public async Task Reader_BesideAPublisher_EndsWithTheSameKeys()
    {
        const int Seed = 20_261_122;
        const int Rounds = 20_000;
        var feed = new KvEventFeed(logEventsMax: 64);
        var published = new HashSet<int>();
        using var over = new CancellationTokenSource();
        var publisher = Task.Run(() =>
        {
            var random = new Random(Seed);
            for (var i = 0; i < Rounds; i++)
            {
                var key = random.Next(200);
                feed.Publish([published.Add(key) ? Added(key) : RemovedFrom(published, key)]);
            }
        });

        var seen = await Task.Run(() => Follow(feed, until: Rounds));
        await publisher;

        Assert.That(seen, Is.EquivalentTo(published.Select(Key)), $"seed {Seed}");
    }

    /// <summary>Reads as an agent does: from a snapshot on, and from a new one after a gap.</summary>
    private static HashSet<BlockKey> Follow(KvEventFeed feed, long until)
    {
        var (keys, sequence) = feed.Snapshot();
        var seen = keys.ToHashSet();
        var events = new KvEvent[16];
        while (sequence < until)
        {
            if (!feed.TryRead(sequence + 1, events, out var count))
            {
                (keys, sequence) = feed.Snapshot();
                seen = [.. keys];
                continue;
            }

            foreach (var next in events.Take(count))
            {
                var isNews = next.Removed ? seen.Remove(next.Key) : seen.Add(next.Key);
                Assert.That(isNews, $"{next} after number {sequence}");
            }

            sequence += count;
        }

        return seen;
    }

    private static KvEvent RemovedFrom(HashSet<int> published, int key)
    {
        published.Remove(key);
        return Removed(key);
    }

    private static KvEvent Added(int key) => new(Key(key), Removed: false);

    private static KvEvent Removed(int key) => new(Key(key), Removed: true);

    private static BlockKey Key(int key) => TestKeys.Of(key);
}
