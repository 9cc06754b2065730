using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kimi.Mooncake.Host.Tests.Remote.Etcd;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>
/// Generated clients over this project's channels against a server that is not ours: etcd, of Debian's package
/// etcd-server or any other of version 3.4 or later on the PATH.
/// </summary>
[TestFixture]
internal sealed class EtcdTests
{
    private EtcdProcess? _etcd;
    private PeerChannels? _channels;
    private CallInvoker _invoker = null!;
    private CancellationTokenSource _limit = null!;

    [OneTimeSetUp]
    public async Task StartEtcd()
    {
        _etcd = EtcdProcess.Start();
        _channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        _invoker = _channels.Get(_etcd.Address);
        await _etcd.ReadyAsync(_invoker);
    }

    [OneTimeTearDown]
    public async Task StopEtcd()
    {
        _channels?.Dispose();
        if (_etcd is not null)
        {
            await _etcd.DisposeAsync();
        }
    }

    [SetUp]
    public void SetLimit() => _limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));

    [TearDown]
    public void DisposeLimit() => _limit.Dispose();

    [Test]
    public async Task Put_ThenRange_GivesBytesAndRevision()
    {
        var values = new KV.KVClient(_invoker);
        var value = ByteString.CopyFrom([.. Enumerable.Range(0, 100_000).Select(index => (byte)index)]);

        var put = await values.PutAsync(new PutRequest { Key = Key("put/a"), Value = value });
        await values.PutAsync(new PutRequest { Key = Key("put/b") });
        var range = await values.RangeAsync(new RangeRequest { Key = Key("put/"), RangeEnd = Key("put0") });

        Assert.That(range.Kvs.Select(pair => pair.Key.ToStringUtf8()), Is.EqualTo(new[] { "put/a", "put/b" }));
        Assert.That(range.Kvs[0].Value, Is.EqualTo(value));
        Assert.That(range.Kvs[0].ModRevision, Is.EqualTo(put.Header.Revision));
    }

    [Test]
    public async Task Put_WithoutAKey_IsAnErrorWithEtcdsWords()
    {
        var fault = await Assert.ThrowsAsync<RpcException>(
            async () => await new KV.KVClient(_invoker).PutAsync(new PutRequest()));

        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(fault.Status.Detail, Does.Contain("key is not provided"));
    }

    [Test]
    public async Task Watch_PutsAndALeaseThatEnds_AreSeenUntilItIsCancelled()
    {
        var values = new KV.KVClient(_invoker);
        var leases = new Lease.LeaseClient(_invoker);
        using var watch = new Watch.WatchClient(_invoker).Watch(cancellationToken: _limit.Token);
        var create = new WatchCreateRequest { Key = Key("watch/"), RangeEnd = Key("watch0") };
        await watch.RequestStream.WriteAsync(new WatchRequest { CreateRequest = create }, _limit.Token);
        var created = await NextAsync(watch);
        Assert.That(created.Created, Is.True);

        await values.PutAsync(new PutRequest { Key = Key("watch/a"), Value = Key("1") });
        var lease = await leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = 600 });
        await values.PutAsync(new PutRequest { Key = Key("watch/b"), Lease = lease.ID });
        await KeepAliveAsync(leases, lease);
        await leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = lease.ID });

        var seen = new List<string>();
        while (seen.Count < 3)
        {
            seen.AddRange((await NextAsync(watch)).Events.Select(next => $"{next.Type} {next.Kv.Key.ToStringUtf8()}"));
        }

        Assert.That(seen, Is.EqualTo(new[] { "Put watch/a", "Put watch/b", "Delete watch/b" }));
        var cancel = new WatchCancelRequest { WatchId = created.WatchId };
        await watch.RequestStream.WriteAsync(new WatchRequest { CancelRequest = cancel }, _limit.Token);
        Assert.That((await NextAsync(watch)).Canceled, Is.True);
    }

    [Test]
    public async Task Watch_GivenUp_EndsAtOnceAndTheChannelGoesOn()
    {
        using var cancellation = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token);
        using var watch = new Watch.WatchClient(_invoker).Watch(cancellationToken: cancellation.Token);
        await watch.RequestStream.WriteAsync(
            new WatchRequest { CreateRequest = new WatchCreateRequest { Key = Key("given-up") } }, _limit.Token);
        await NextAsync(watch);

        var waiting = watch.ResponseStream.MoveNext(CancellationToken.None);
        var start = Stopwatch.GetTimestamp();
        await cancellation.CancelAsync();

        var fault = await Assert.ThrowsAsync<RpcException>(() => waiting);
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.Cancelled));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(10)));
        var after = await new KV.KVClient(_invoker).RangeAsync(new RangeRequest { Key = Key("given-up") });
        Assert.That(after.Count, Is.Zero);
    }

    [Test]
    public async Task Watch_PastItsDeadline_IsEndedByWhicheverSideIsFirst()
    {
        var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddMilliseconds(200);
        using var watch = new Watch.WatchClient(_invoker).Watch(deadline: deadline);
        await watch.RequestStream.WriteAsync(
            new WatchRequest { CreateRequest = new WatchCreateRequest { Key = Key("late") } });

        var fault = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await watch.ResponseStream.MoveNext(_limit.Token))
            {
                Assert.That(watch.ResponseStream.Current.Events, Is.Empty);
            }
        });

        // The deadline travels with the call: etcd may end it first, with a code and words of its own.
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded).Or.EqualTo(StatusCode.Unknown));
        if (fault.StatusCode == StatusCode.Unknown)
        {
            Assert.That(fault.Status.Detail, Does.Contain("deadline exceeded"));
        }
    }

    private static ByteString Key(string text) => ByteString.CopyFromUtf8(text);

    private async Task<WatchResponse> NextAsync(AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch)
    {
        Assert.That(await watch.ResponseStream.MoveNext(_limit.Token), Is.True);
        return watch.ResponseStream.Current;
    }

    private async Task KeepAliveAsync(Lease.LeaseClient leases, LeaseGrantResponse lease)
    {
        using var keeping = leases.LeaseKeepAlive(cancellationToken: _limit.Token);
        for (var beat = 0; beat < 3; beat++)
        {
            await keeping.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = lease.ID }, _limit.Token);
            Assert.That(await keeping.ResponseStream.MoveNext(_limit.Token), Is.True);
            Assert.That(keeping.ResponseStream.Current.TTL, Is.EqualTo(lease.TTL));
        }

        await keeping.RequestStream.CompleteAsync();
        Assert.That(await keeping.ResponseStream.MoveNext(_limit.Token), Is.False);
        Assert.That(keeping.GetStatus().StatusCode, Is.EqualTo(StatusCode.OK));
    }
}
