using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class PeerBookTests
{
    [Test]
    public void StoreOf_SeveralStores_SpreadsKeysEvenlyAndAlikeEverywhere()
    {
        string[] addresses = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"];
        var here = Book(addresses);
        var there = Book([.. addresses.Reverse()]);
        var keys = PeerBlocks.Keys(0, 3000);

        Assert.That(keys.Select(key => here.StoreOf(key)!.Address),
            Is.EqualTo(keys.Select(key => there.StoreOf(key)!.Address)));
        foreach (var address in addresses)
        {
            Assert.That(keys.Count(key => here.StoreOf(key)!.Address == address), Is.InRange(850, 1150));
        }
    }

    [Test]
    public void StoreOf_OneStoreGoes_MovesOnlyItsKeys()
    {
        var before = Book(["http://a", "http://b", "http://c"]);
        var after = Book(["http://a", "http://c"]);

        foreach (var key in PeerBlocks.Keys(0, 500))
        {
            if (before.StoreOf(key)!.Address is var address && address != "http://b")
            {
                Assert.That(after.StoreOf(key)!.Address, Is.EqualTo(address));
            }
        }
    }

    [Test]
    public void StoreOf_NoStores_IsNone() => Assert.That(Book([]).StoreOf(PeerBlocks.Key(1)), Is.Null);

    [Test]
    public void Item_MorePeersThanRemembered_KeepsTheStores()
    {
        var book = new PeerBook(new PeerBlocksOptions { PeersMax = 3 }, TimeProvider.System);
        book.SetStores(["http://store"]);
        var store = book.Stores[0];
        for (var i = 0; i < 10; i++)
        {
            Assert.That(book[$"http://{i}"].Address, Is.EqualTo($"http://{i}"));
        }

        Assert.That(book["http://store"], Is.SameAs(store));
    }

    private static PeerBook Book(string[] stores)
    {
        var book = new PeerBook(new PeerBlocksOptions(), TimeProvider.System);
        book.SetStores(stores);
        return book;
    }
}
