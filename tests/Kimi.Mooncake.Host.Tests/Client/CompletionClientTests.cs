using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Tests.Client;

[TestFixture]
internal sealed class CompletionClientTests
{
    private static readonly StreamRequest Question = StreamRequest.About("The code of A is 17.", "The code of A is");

    [TestCase(FakeBehaviour.RefusesWithAnErrorObject, "429: the queue is full")]
    [TestCase(FakeBehaviour.RefusesWithText, "429: a proxy's page")]
    [TestCase(FakeBehaviour.ReportsAnErrorInTheStream, "the worker died")]
    [TestCase(FakeBehaviour.BreaksOff, "closed the stream before")]
    public async Task Ask_ServerFails_SaysWhatTheServerSaid(FakeBehaviour behaviour, string message)
    {
        await using var server = await FakeServer.StartAsync(behaviour);
        using var client = new CompletionClient(new Uri(server.Address));

        Assert.That(
            async () => await Asker.AskAsync(client, Question, "The code of A is", null, CancellationToken.None),
            Throws.TypeOf<ServerException>().With.Message.Contains(message));
    }

    [Test]
    [CancelAfter(30_000)]
    public async Task Ask_CancelledInTheStream_LeavesTheServer(CancellationToken cancellationToken)
    {
        await using var server = await FakeServer.StartAsync(FakeBehaviour.Hangs);
        using var client = new CompletionClient(new Uri(server.Address));
        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);

        Assert.That(
            async () => await Asker.AskAsync(client, Question, "", _ => leaving.Cancel(), leaving.Token),
            Throws.InstanceOf<OperationCanceledException>());
        await server.Left.Task.WaitAsync(cancellationToken);
        Assert.That(cancellationToken.IsCancellationRequested, Is.False);
    }

    [Test]
    public async Task IsThere_NobodyListens_IsFalse()
    {
        string address;
        await using (var server = await FakeServer.StartAsync())
        {
            address = server.Address;
            using var there = new CompletionClient(new Uri(address));
            Assert.That(await there.IsThereAsync(TimeSpan.FromSeconds(10), CancellationToken.None), Is.True);
        }

        using var client = new CompletionClient(new Uri(address));
        Assert.That(await client.IsThereAsync(TimeSpan.FromSeconds(10), CancellationToken.None), Is.False);
    }

    [Test]
    public async Task Load_OfAnIdleServer_IsEmpty()
    {
        await using var server = await FakeServer.StartAsync();
        using var client = new CompletionClient(new Uri(server.Address));

        var load = await client.LoadAsync(CancellationToken.None);

        Assert.That(load.IsEmpty, Is.True);
        Assert.That(load.BlocksTotal, Is.EqualTo(8));
    }
}
