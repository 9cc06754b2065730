using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Cluster.Tests.Contexts;

/// <summary>What every catalog does, wherever it is.</summary>
internal abstract class ContextCatalogConformance
{
    private readonly CancellationToken _never = CancellationToken.None;
    private TemporaryFolder _folder = null!;

    protected ManualTime Time { get; private set; } = null!;

    protected ContextCatalog Local { get; private set; } = null!;

    protected abstract IContextCatalog Catalog { get; }

    [SetUp]
    public void Open()
    {
        _folder = new TemporaryFolder();
        Time = new ManualTime();
        Local = ContextSamples.Open(
            _folder.Path, Time,
            options => options with { TenantContextsMax = 5, TenantTagsMax = 2, ContextBytesMax = 4096 });
    }

    [TearDown]
    public void Close()
    {
        Local.Dispose();
        _folder.Dispose();
    }

    [Test]
    public async Task Create_AContext_IsThereAsItWasGiven()
    {
        var given = ContextSamples.Context(Time);

        var created = await Catalog.CreateAsync(given, [], _never);

        var got = await Catalog.GetAsync("a", created.Id, _never);
        Assert.That(created.Id, Does.Match("^cache-[a-z0-9]{20}$"));
        Assert.That(ContextSamples.Describe(got), Is.EqualTo(ContextSamples.Describe(given with
        {
            Id = created.Id,
            Sequence = created.Sequence,
            CreatedUnixMs = Time.GetUtcNow().ToUnixTimeMilliseconds(),
        })));
        Assert.That(got!.State.Status, Is.EqualTo(ContextStatus.Pending));
    }

    [Test]
    public async Task Create_WithoutMetadata_IsNotTheSameAsWithEmptyMetadata()
    {
        var without = await Catalog.CreateAsync(ContextSamples.Context(Time) with { Metadata = null }, [], _never);
        var with = await Catalog.CreateAsync(ContextSamples.Context(Time) with { Metadata = [] }, [], _never);

        Assert.That((await Catalog.GetAsync("a", without.Id, _never))!.Metadata, Is.Null);
        Assert.That((await Catalog.GetAsync("a", with.Id, _never))!.Metadata, Is.Not.Null.And.Empty);
    }

    [Test]
    public async Task EveryCall_ForAnotherTenant_FindsNothing()
    {
        var created = await Catalog.CreateAsync(ContextSamples.Context(Time), ["tag"], _never);

        Assert.That(await Catalog.GetAsync("b", created.Id, _never), Is.Null);
        Assert.That(await Catalog.UpdateAsync("b", created.Id, new ContextUpdate(ExpiresUnixMs: 1), _never), Is.Null);
        Assert.That(await Catalog.DeleteAsync("b", created.Id, _never), Is.False);
        Assert.That(await Catalog.SetTagAsync("b", "mine", created.Id, _never), Is.Null);
        Assert.That(await Catalog.GetTagAsync("b", "tag", _never), Is.Null);
        await Catalog.DeleteTagAsync("b", "tag", _never);
        Assert.That(await Catalog.ListAsync("b", new ContextQuery(), _never), Is.Empty);
        Assert.That(await Catalog.ListTagsAsync("b", new ContextQuery(), _never), Is.Empty);
        Assert.That((await Catalog.GetTagAsync("a", "tag", _never))!.ContextId, Is.EqualTo(created.Id));
    }

    [Test]
    public async Task List_Pages_AreInOrderAndWithoutTheirBounds()
    {
        var ids = new List<string>();
        for (var i = 0; i < 5; i++)
        {
            ids.Add((await Catalog.CreateAsync(ContextSamples.Context(Time, name: $"n{i}"), [], _never)).Id);
        }

        async Task<string[]?> ListAsync(ContextQuery query) =>
            (await Catalog.ListAsync("a", query, _never))?.Select(context => context.Name).ToArray();

        Assert.That(await ListAsync(new ContextQuery { Limit = 2 }), Is.EqualTo(new[] { "n4", "n3" }));
        Assert.That(
            await ListAsync(new ContextQuery { Limit = 2, After = ids[3] }), Is.EqualTo(new[] { "n2", "n1" }));
        Assert.That(
            await ListAsync(new ContextQuery { Ascending = true, After = ids[0], Before = ids[3] }),
            Is.EqualTo(new[] { "n1", "n2" }));
        Assert.That(
            await ListAsync(new ContextQuery { Metadata = [KeyValuePair.Create("biz_id", "n2")] }),
            Is.EqualTo(new[] { "n2" }));
        Assert.That(await ListAsync(new ContextQuery { After = "cache-none" }), Is.Null);
        Assert.That(await ListAsync(new ContextQuery { Before = "cache-none" }), Is.Null);
    }

    [Test]
    public async Task Update_SomeFields_LeavesTheOthers()
    {
        var created = await Catalog.CreateAsync(ContextSamples.Context(Time), [], _never);
        var failed = new ContextState(ContextStatus.Error, "too_long", "it does not fit");

        var updated = await Catalog.UpdateAsync(
            "a", created.Id, new ContextUpdate([KeyValuePair.Create("k", "v")], 5_000_000_000, failed), _never);
        var ready = await Catalog.UpdateAsync(
            "a", created.Id, new ContextUpdate(State: ContextState.Ready), _never);

        Assert.That(updated!.State, Is.EqualTo(failed));
        Assert.That(ready!.State, Is.EqualTo(ContextState.Ready));
        Assert.That(ContextSamples.Describe(ready), Is.EqualTo(ContextSamples.Describe(created with
        {
            Metadata = [KeyValuePair.Create("k", "v")],
            ExpiresUnixMs = 5_000_000_000,
            State = ContextState.Ready,
        })));
        Assert.That(
            await Catalog.UpdateAsync("a", "cache-none", new ContextUpdate(ExpiresUnixMs: 1), _never), Is.Null);
    }

    [Test]
    public async Task Delete_AContext_TakesItsTagsAlong()
    {
        var first = await Catalog.CreateAsync(ContextSamples.Context(Time), ["one"], _never);
        var second = await Catalog.CreateAsync(ContextSamples.Context(Time), ["two"], _never);

        Assert.That(await Catalog.DeleteAsync("a", first.Id, _never), Is.True);

        Assert.That(await Catalog.DeleteAsync("a", first.Id, _never), Is.False);
        Assert.That(await Catalog.GetAsync("a", first.Id, _never), Is.Null);
        Assert.That(await Catalog.GetTagAsync("a", "one", _never), Is.Null);
        Assert.That((await Catalog.GetTagAsync("a", "two", _never))!.ContextId, Is.EqualTo(second.Id));
    }

    [Test]
    public async Task Tag_SetAgain_PointsToTheNewContext()
    {
        var first = await Catalog.CreateAsync(ContextSamples.Context(Time), ["tag"], _never);
        var second = await Catalog.CreateAsync(ContextSamples.Context(Time), [], _never);

        var set = await Catalog.SetTagAsync("a", "tag", second.Id, _never);

        Assert.That(set, Is.EqualTo(await Catalog.GetTagAsync("a", "tag", _never)));
        Assert.That(set!.ContextId, Is.EqualTo(second.Id));
        await Catalog.DeleteAsync("a", first.Id, _never);
        Assert.That(await Catalog.GetTagAsync("a", "tag", _never), Is.EqualTo(set));
        await Catalog.DeleteTagAsync("a", "tag", _never);
        Assert.That(await Catalog.GetTagAsync("a", "tag", _never), Is.Null);
        await Catalog.DeleteTagAsync("a", "tag", _never);
        Assert.That(await Catalog.SetTagAsync("a", "tag", "cache-none", _never), Is.Null);
    }

    [Test]
    public async Task ListTags_Pages_AreInOrder()
    {
        var created = await Catalog.CreateAsync(ContextSamples.Context(Time), ["one", "two"], _never);

        var newest = await Catalog.ListTagsAsync("a", new ContextQuery { Limit = 1 }, _never);
        var rest = await Catalog.ListTagsAsync("a", new ContextQuery { After = "two" }, _never);

        Assert.That(newest!.Select(tag => tag.Tag), Is.EqualTo(new[] { "two" }));
        Assert.That(rest!.Select(tag => tag.Tag), Is.EqualTo(new[] { "one" }));
        Assert.That(rest![0].ContextId, Is.EqualTo(created.Id));
        Assert.That(await Catalog.ListTagsAsync("a", new ContextQuery { After = "three" }, _never), Is.Null);
    }

    [Test]
    public async Task Limits_WhenReached_RefuseAndChangeNothing()
    {
        for (var i = 0; i < 5; i++)
        {
            await Catalog.CreateAsync(ContextSamples.Context(Time), i == 0 ? ["one", "two"] : [], _never);
        }

        var before = await ContextSamples.DescribeAsync(Catalog);

        await Assert.ThrowsAsync<ContextLimitException>(
            () => Catalog.CreateAsync(ContextSamples.Context(Time), [], _never));
        await Assert.ThrowsAsync<ContextLimitException>(
            () => Catalog.CreateAsync(ContextSamples.Context(Time, tenant: "b", bytes: 5000), [], _never));
        await Assert.ThrowsAsync<ContextLimitException>(
            () => Catalog.CreateAsync(ContextSamples.Context(Time, tenant: "b"), ["x", "y", "z"], _never));
        var page = await Catalog.ListAsync("a", new ContextQuery(), _never);
        await Assert.ThrowsAsync<ContextLimitException>(
            () => Catalog.SetTagAsync("a", "three", page![0].Id, _never));
        Assert.That(await ContextSamples.DescribeAsync(Catalog), Is.EqualTo(before));
        Assert.That(await Catalog.ListAsync("b", new ContextQuery(), _never), Is.Empty);
    }

    [Test]
    public async Task Create_WithAFieldOutOfItsRange_IsRefusedByName()
    {
        var fault = await Assert.ThrowsAsync<InvalidDataException>(() => Catalog.CreateAsync(
            ContextSamples.Context(Time) with { Description = new string('d', 600) }, [], _never));
        var tagFault = await Assert.ThrowsAsync<InvalidDataException>(
            () => Catalog.CreateAsync(ContextSamples.Context(Time), ["1st"], _never));

        Assert.That(fault!.Message, Does.Contain("description").And.Contain("512"));
        Assert.That(tagFault!.Message, Does.Contain("tag"));
        Assert.That(await ContextSamples.DescribeAsync(Catalog), Is.Empty);
    }

    [Test]
    public async Task Pending_OfAllTenants_IsListedUntilReadyOrExpired()
    {
        var first = await Catalog.CreateAsync(ContextSamples.Context(Time, seconds: 10), [], _never);
        var second = await Catalog.CreateAsync(ContextSamples.Context(Time, tenant: "b"), [], _never);
        var third = await Catalog.CreateAsync(ContextSamples.Context(Time, tenant: "c"), [], _never);
        await Catalog.UpdateAsync("b", second.Id, new ContextUpdate(State: ContextState.Ready), _never);

        var before = await Catalog.ListPendingAsync(0, 10, _never);
        var younger = await Catalog.ListPendingAsync(first.Sequence, 10, _never);
        Time.Advance(TimeSpan.FromSeconds(10));
        var after = await Catalog.ListPendingAsync(0, 10, _never);

        Assert.That(before.Select(context => context.Id), Is.EqualTo(new[] { first.Id, third.Id }));
        Assert.That(younger.Select(context => context.Id), Is.EqualTo(new[] { third.Id }));
        Assert.That(after.Select(context => context.Id), Is.EqualTo(new[] { third.Id }));
    }

    [Test]
    public async Task Expired_Context_IsKnownForAWhileAndThenGone()
    {
        var created = await Catalog.CreateAsync(ContextSamples.Context(Time, seconds: 10), ["tag"], _never);

        Time.Advance(TimeSpan.FromSeconds(10 + (7 * 24 * 3600) - 1));
        var inactive = await Catalog.GetAsync("a", created.Id, _never);
        Time.Advance(TimeSpan.FromSeconds(1));

        Assert.That(inactive!.Id, Is.EqualTo(created.Id));
        Assert.That(await Catalog.GetAsync("a", created.Id, _never), Is.Null);
        Assert.That(await Catalog.GetTagAsync("a", "tag", _never), Is.Null);
        Assert.That(await Catalog.ListAsync("a", new ContextQuery(), _never), Is.Empty);
        for (var i = 0; i < 5; i++)
        {
            await Catalog.CreateAsync(ContextSamples.Context(Time), [], _never);
        }
    }
}
