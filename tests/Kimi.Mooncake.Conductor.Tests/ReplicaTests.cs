using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class ReplicaTests
{
    private const int Blocks = 20;

    // Three requests within the window make a block hot.
    private static readonly ReplicaOptions Options = new() { HotRequestsPerSecond = 0.28, HotWindowSeconds = 10 };

    [Test]
    public void Route_OftenEnough_OrdersReplicasOfEveryGroup()
    {
        var cluster = Cluster(Options);
        Store(cluster);

        Use(cluster, times: 2);
        Assert.That(Orders(cluster), Is.Empty, "not hot yet");
        Use(cluster, times: 4);
        cluster.Advance(100);

        var orders = Orders(cluster);
        Assert.That(orders, Is.Not.Empty);
        Assert.That(orders.SelectMany(order => order.Keys), Is.EquivalentTo(TestCluster.Keys(1, Blocks)));
        foreach (var order in orders)
        {
            Assert.That(order.Holder, Is.Not.EqualTo(order.Target));
            Assert.That(order.Holder.Host, Is.Not.EqualTo(order.Target.Host));
        }
    }

    [Test]
    public void Route_OnceOrRarely_OrdersNothing()
    {
        var cluster = Cluster(Options);
        Store(cluster);

        for (var times = 0; times < 20; times++)
        {
            Use(cluster, times: 1);
            cluster.Advance(10_000);
        }

        Assert.That(Orders(cluster), Is.Empty);
    }

    [Test]
    public void Route_ContextUsedOnce_OrdersReplicasOfTheContextAlone()
    {
        var cluster = Cluster(Options);
        Store(cluster);

        cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, Blocks)) with { ContextBlocks = 10 }));
        cluster.Advance(100);

        Assert.That(
            Orders(cluster).SelectMany(order => order.Keys), Is.EquivalentTo(TestCluster.Keys(1, 10)));
    }

    [Test]
    public void StoreNode_IsLost_OrdersWhatItHadFromTheOthersAtOnce()
    {
        var cluster = Cluster(Options);
        Store(cluster);
        Use(cluster, times: 6);
        Obey(cluster);
        var lost = Targets(cluster, 0)[0];
        var had = TestCluster.Keys(1, 8);

        cluster.Core.Disconnect(cluster.MemberOf(lost), cluster.Now);

        var orders = Orders(cluster);
        Assert.That(orders.SelectMany(order => order.Keys), Is.SupersetOf(had));
        Assert.That(orders.Select(order => order.Holder.NodeId), Has.None.EqualTo(lost));
        Assert.That(cluster.Core.Counters.ReplicasRestoring, Is.EqualTo(orders.Length));
    }

    [Test]
    public void Order_TheHolderIsLost_IsGivenToAnother()
    {
        var cluster = Cluster(Options);
        Array.ForEach(["s0", "s1", "s2", "s3"], id => cluster.Snapshot(id, TestCluster.Keys(1, 8)));
        var target = Targets(cluster, 0)[0];
        cluster.Snapshot(target, []);
        Use(cluster, times: 6);
        cluster.Advance(50);
        var first = Orders(cluster).Single();

        cluster.Core.Disconnect(cluster.MemberOf(first.Holder.NodeId), cluster.Now);

        var second = Orders(cluster).First(order => order.Target == first.Target);
        Assert.That(second.Holder, Is.Not.EqualTo(first.Holder));
        Assert.That(second.Keys, Is.EqualTo(first.Keys));
        Assert.That(cluster.Core.Counters.ReplicaOrdersLost, Is.EqualTo(1));
    }

    [Test]
    public void Order_Fails_IsGivenAgainAfterLongerAndLongerWaits()
    {
        var cluster = Cluster(Options with { OrderRetryMs = 1000 });
        cluster.Snapshot(Targets(cluster, 0)[0], TestCluster.Keys(1, 8));
        // A context stays wanted however long the waits are.
        cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, 8)) with { ContextBlocks = 8 }));
        cluster.Advance(50);

        Assert.That(WaitForNext(), Is.InRange(900, 2200));
        Assert.That(WaitForNext(), Is.InRange(1900, 3200));
        Assert.That(WaitForNext(), Is.InRange(3900, 5200));
        Assert.That(cluster.Core.Counters.ReplicaOrdersFailed, Is.EqualTo(3));

        int WaitForNext()
        {
            var order = Orders(cluster).Single();
            cluster.Core.ReportReplicas(cluster.MemberOf(order.Holder.NodeId), order.Id, 0, false, cluster.Now);
            for (var waited = 0; ; waited += 100)
            {
                if (cluster.Core.Events.ToArray().Any(e => e.Kind == ConductorEventKind.ReplicaOrdered))
                {
                    return waited;
                }

                KeepAlive(cluster);
                cluster.Advance(100);
            }
        }
    }

    [Test]
    public void Order_NobodyReports_TimesOut()
    {
        var cluster = Cluster(Options with { OrderTimeoutMs = 2000 });
        cluster.Snapshot(Targets(cluster, 0)[0], TestCluster.Keys(1, 8));
        cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, 8)) with { ContextBlocks = 8 }));
        cluster.Advance(50);
        Assert.That(cluster.Core.Replicas.Orders, Is.EqualTo(1));

        cluster.Advance(2100);

        Assert.That(cluster.Core.Replicas.Orders, Is.Zero);
        Assert.That(cluster.Core.Counters.ReplicaOrdersFailed, Is.EqualTo(1));
    }

    [Test]
    public void Report_OfAnotherNode_ChangesNothing()
    {
        var cluster = Cluster(Options);
        cluster.Snapshot(Targets(cluster, 0)[0], TestCluster.Keys(1, 8));
        cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, 8)) with { ContextBlocks = 8 }));
        cluster.Advance(50);
        var order = Orders(cluster).Single();

        cluster.Core.ReportReplicas(cluster.MemberOf(order.Target.NodeId), order.Id, 8, true, cluster.Now);

        Assert.That(cluster.Core.Replicas.Orders, Is.EqualTo(1));
    }

    [Test]
    public void Touch_MoreGroupsThanMayBe_ForgetsThoseUnusedLongest()
    {
        var cluster = Cluster(Options with { TrackedGroupsMax = 5 });

        for (var document = 0; document < 50; document++)
        {
            cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(document, 8))));
        }

        Assert.That(cluster.Core.Replicas.TrackedGroups, Is.EqualTo(5));
    }

    [Test]
    public void Touch_GroupIsFullOfContextsThatNobodyUses_MakesRoomForNewOnes()
    {
        // Arrange: all conversations have their first block in common.
        var cluster = Cluster(Options with { GroupKeysMax = 64, ContextKeysSeconds = 60 });
        cluster.Snapshot(Targets(cluster, 0)[0], Conversation(1000));
        for (var number = 0; number < 20; number++)
        {
            UseConversation(number);
        }

        // Act
        UseConversation(1000);
        cluster.Advance(50);
        var order = Orders(cluster).Single();
        cluster.Added(order.Target.NodeId, [.. order.Keys]);
        cluster.Core.ReportReplicas(cluster.MemberOf(order.Holder.NodeId), order.Id, 1, isDone: true, cluster.Now);
        cluster.Pause(60_000);
        KeepAlive(cluster);
        UseConversation(1000);
        cluster.Advance(50);

        // Assert
        Assert.That(order.Keys, Is.EqualTo(new[] { TestCluster.Key(1, 0) }), "there is no room for the others");
        Assert.That(Orders(cluster).Single().Keys, Is.EquivalentTo(Conversation(1000)[1..]));

        static BlockKey[] Conversation(int number) =>
            [TestCluster.Key(1, 0), .. TestCluster.Keys(number + 2, 7, from: 1)];

        void UseConversation(int number) =>
            cluster.Release(cluster.Submit(TestCluster.Query(Conversation(number)) with { ContextBlocks = 8 }));
    }

    [Test]
    public void StoreNode_HasAPoolToo_IsNeitherTargetNorHolder()
    {
        var cluster = new TestCluster(replicas: Options);
        foreach (var id in new[] { "s0", "s1", "s2" })
        {
            cluster.Join(id, NodeRoles.Store | NodeRoles.Prefill | NodeRoles.Decode, host: $"host-{id}");
        }

        cluster.Snapshot("s0", TestCluster.Keys(1, Blocks));
        cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, Blocks)) with { ContextBlocks = Blocks }));
        cluster.Advance(100);
        Assert.That(Orders(cluster), Is.Empty, "the keys are those of its pool");

        cluster.Join("s3", NodeRoles.Store, host: "host-s3");
        cluster.Advance(1100);
        Assert.That(Orders(cluster), Is.Empty, "nobody is known to have them");
    }

    [Test]
    public void StoreNode_ItsSnapshotIsOnItsWay_IsOrderedNothing()
    {
        var cluster = Cluster(Options);
        Store(cluster);
        var (holder, target) = (Targets(cluster, 0)[0], Targets(cluster, 0)[1]);
        cluster.Added(target, TestCluster.Keys(1, 8));
        var context = TestCluster.Query(TestCluster.Keys(1, 8)) with { ContextBlocks = 8 };
        cluster.Release(cluster.Submit(context));
        cluster.Advance(100);
        Assert.That(Orders(cluster), Is.Empty, "both have it");

        cluster.Register(TestCluster.Describe(target, NodeRoles.Store) with { Host = $"host-{target}" });
        cluster.Load(target, TestCluster.Idle());
        cluster.Advance(1100);
        Assert.That(ToTarget(), Is.Empty);

        cluster.Snapshot(target, []);
        cluster.Advance(1100);
        Assert.That(ToTarget().Single().Holder.NodeId, Is.EqualTo(holder));

        ReplicaOrder[] ToTarget() => Array.FindAll(Orders(cluster), order => order.Target.NodeId == target);
    }

    /// <summary>Four store nodes on hosts of their own, and a worker.</summary>
    private static TestCluster Cluster(ReplicaOptions options)
    {
        var cluster = new TestCluster(replicas: options);
        cluster.Join("w", NodeRoles.Prefill | NodeRoles.Decode);
        foreach (var id in new[] { "s0", "s1", "s2", "s3" })
        {
            cluster.Join(id, NodeRoles.Store, host: $"host-{id}");
        }

        return cluster;
    }

    /// <summary>The first document's blocks, each where its placement says.</summary>
    private static void Store(TestCluster cluster)
    {
        for (var first = 0; first < Blocks; first = PlacementGroup.EndOf(first))
        {
            cluster.Added(
                Targets(cluster, first)[0],
                TestCluster.Keys(1, Math.Min(Blocks, PlacementGroup.EndOf(first)) - first, first));
        }
    }

    /// <summary>Names of the nodes that the first document's group is placed on, two of them.</summary>
    private static string[] Targets(TestCluster cluster, int first)
    {
        var placement = new ReplicaPlacement(
            cluster.Core.StoreNodes.Select(node => new StoreNodeAddress(node.Address, node.Host)));
        var chosen = new int[2];
        placement.Choose(TestCluster.Key(1, first), chosen);
        return [.. chosen.Select(node => placement.Nodes[node].Address["http://".Length..])];
    }

    private static void Use(TestCluster cluster, int times)
    {
        for (; times > 0; times--)
        {
            cluster.Release(cluster.Submit(TestCluster.Query(TestCluster.Keys(1, Blocks))));
        }
    }

    private static ReplicaOrder[] Orders(TestCluster cluster) =>
        [.. cluster.TakeEvents().Where(e => e.Kind == ConductorEventKind.ReplicaOrdered).Select(e => e.Order!)];

    /// <summary>Does all orders until there are no more.</summary>
    private static void Obey(TestCluster cluster)
    {
        cluster.Advance(50);
        while (Orders(cluster) is { Length: > 0 } orders)
        {
            foreach (var order in orders)
            {
                cluster.Added(order.Target.NodeId, [.. order.Keys]);
                cluster.Core.ReportReplicas(
                    cluster.MemberOf(order.Holder.NodeId), order.Id, order.Keys.Count, true, cluster.Now);
            }

            cluster.Advance(50);
        }
    }

    private static void KeepAlive(TestCluster cluster)
    {
        foreach (var id in new[] { "w", "s0", "s1", "s2", "s3" })
        {
            cluster.Load(id, TestCluster.Idle());
        }
    }
}
