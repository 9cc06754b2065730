using Kimi.Mooncake.KvCache.Placement;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class PeerBookTests
{
    [Test]
    public void ReplicasOf_SeveralStores_AreThoseOfThePlacement()
    {
        StoreNodeAddress[] nodes = [new("http://a", "x"), new("http://b", "x"), new("http://c", "y")];
        var (book, placement) = (Book(nodes), new ReplicaPlacement(nodes.Reverse()));
        foreach (var key in PeerBlocks.Keys(0, 200))
        {
            var chosen = new int[2];
            placement.Choose(key, chosen);

            Assert.That(
                book.ReplicasOf(key, 2).Select(peer => peer.Address),
                Is.EqualTo(chosen.Select(node => placement.Nodes[node].Address)));
        }
    }

    [Test]
    public void ReplicasOf_FewerStoresThanReplicas_AreAllOfThem()
    {
        Assert.That(Book([]).ReplicasOf(PeerBlocks.Key(1), 2), Is.Empty);
        Assert.That(Book([new("http://a", "")]).ReplicasOf(PeerBlocks.Key(1), 2), Has.Length.EqualTo(1));
    }

    [Test]
    public void SetStores_OnTheHostOfThisProcess_AreNear()
    {
        var book = Book([new("http://a", "here"), new("http://b", "there"), new("http://c", "")]);

        Assert.That(
            book.Stores.Where(peer => peer.IsNear).Select(peer => peer.Address), Is.EqualTo(new[] { "http://a" }));
    }

    [Test]
    public void Item_MorePeersThanRemembered_KeepsTheStores()
    {
        var book = new PeerBook(new PeerBlocksOptions { PeersMax = 3 }, TimeProvider.System);
        book.SetStores([new("http://store", "")]);
        var store = book.Stores[0];
        for (var i = 0; i < 10; i++)
        {
            Assert.That(book[$"http://{i}"].Address, Is.EqualTo($"http://{i}"));
        }

        Assert.That(book["http://store"], Is.SameAs(store));
    }

    private static PeerBook Book(StoreNodeAddress[] stores)
    {
        var book = new PeerBook(new PeerBlocksOptions(), TimeProvider.System, "here");
        book.SetStores(stores);
        return book;
    }
}
