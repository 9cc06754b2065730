using System.Buffers.Binary;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Cluster.Tests.Contexts;

/// <summary>What a catalog knows after its process ended, however it ended, and after damage to its file.</summary>
[TestFixture]
internal sealed class ContextJournalTests
{
    private readonly CancellationToken _never = CancellationToken.None;
    private TemporaryFolder _folder = null!;
    private ManualTime _time = null!;

    private string Journal => _folder.File("contexts.journal");

    [SetUp]
    public void Open()
    {
        _folder = new TemporaryFolder();
        _time = new ManualTime();
    }

    [TearDown]
    public void Close() => _folder.Dispose();

    [Test]
    public async Task Reopen_AfterEveryKindOfChange_KnowsTheSame()
    {
        var (states, _) = await ChangeAsync();

        using var reopened = ContextSamples.Open(_folder.Path, _time);

        Assert.That(await ContextSamples.DescribeAsync(reopened), Is.EqualTo(states[^1]));
        var next = await reopened.CreateAsync(ContextSamples.Context(_time), [], _never);
        var page = await reopened.ListAsync("a", new ContextQuery { Limit = 1 }, _never);
        Assert.That(page![0].Id, Is.EqualTo(next.Id), "it is the newest");
    }

    [Test]
    public async Task Crash_AtAnyByte_KeepsEveryChangeThatWasAnswered()
    {
        var (states, ends) = await ChangeAsync();
        var whole = await File.ReadAllBytesAsync(Journal);
        for (var length = 0; length <= whole.Length; length++)
        {
            using var folder = new TemporaryFolder();
            await File.WriteAllBytesAsync(folder.File("contexts.journal"), whole[..length]);

            using var catalog = ContextSamples.Open(folder.Path, _time);

            var answered = ends.Count(end => end <= length);
            Assert.That(
                await ContextSamples.DescribeAsync(catalog), Is.EqualTo(answered == 0 ? "" : states[answered - 1]),
                $"cut after {length} of {whole.Length} bytes");
        }
    }

    [Test]
    public async Task Damage_OfARecord_LosesItAloneAndKeepsACopy()
    {
        var (states, ends) = await ChangeAsync();
        var bytes = await File.ReadAllBytesAsync(Journal);
        bytes[ends[0] + 20] ^= 4;
        await File.WriteAllBytesAsync(Journal, bytes);

        using (var damaged = ContextSamples.Open(_folder.Path, _time))
        {
            // The second context is lost, and with it what was done to it later.
            Assert.That(await ContextSamples.DescribeAsync(damaged), Is.Empty, "the first one was deleted later");
            await damaged.CreateAsync(ContextSamples.Context(_time, name: "later"), ["two"], _never);
        }

        using var reopened = ContextSamples.Open(_folder.Path, _time);
        var copies = _folder.Names().Where(name => name.Contains(".damaged-", StringComparison.Ordinal)).ToList();
        Assert.That(states[1], Does.Contain("second"));
        Assert.That(
            (await ContextSamples.DescribeAsync(reopened)).Split('\n'),
            Has.Length.EqualTo(2).And.Some.Contains("later").And.Some.Contains("two"));
        Assert.That(copies, Has.Count.EqualTo(1), "the file was written anew");
        Assert.That(await File.ReadAllBytesAsync(_folder.File(copies[0])), Is.EqualTo(bytes[ends[0]..]));
    }

    [Test]
    public async Task Damage_OfAnyByteOfARecord_KeepsTheContextsOfTheOthers()
    {
        var ends = new List<int>();
        using (var catalog = ContextSamples.Open(_folder.Path, _time))
        {
            foreach (var name in (string[])["first", "second", "third"])
            {
                await catalog.CreateAsync(ContextSamples.Context(_time, name: name), [name], _never);
                ends.Add((int)catalog.JournalBytes);
            }
        }

        var whole = await File.ReadAllBytesAsync(Journal);
        for (var at = ends[0]; at < ends[1]; at++)
        {
            using var folder = new TemporaryFolder();
            var bytes = whole.ToArray();
            bytes[at] ^= (byte)(1 << (at % 8));
            await File.WriteAllBytesAsync(folder.File("contexts.journal"), bytes);

            using var catalog = ContextSamples.Open(folder.Path, _time);

            // Where the length itself is wrong, nobody knows where the next record begins.
            var found = await ContextSamples.DescribeAsync(catalog);
            Assert.That(found, Does.Contain("first").And.Not.Contain("second"), $"byte {at}");
            Assert.That(found.Contains("third", StringComparison.Ordinal), Is.EqualTo(at >= ends[0] + 4), $"byte {at}");
        }
    }

    [Test]
    public async Task Damage_OfTwoRecordsInARow_KeepsWhatIsBeforeThem()
    {
        var (states, ends) = await ChangeAsync();
        var bytes = await File.ReadAllBytesAsync(Journal);
        bytes[ends[1] + 20] ^= 4;
        bytes[ends[2] + 20] ^= 4;
        await File.WriteAllBytesAsync(Journal, bytes);

        using var damaged = ContextSamples.Open(_folder.Path, _time);

        var copy = _folder.Names().Single(name => name.Contains(".damaged-", StringComparison.Ordinal));
        Assert.That(await ContextSamples.DescribeAsync(damaged), Is.EqualTo(states[1]));
        Assert.That(await File.ReadAllBytesAsync(_folder.File(copy)), Is.EqualTo(bytes[ends[1]..]));
    }

    [Test]
    public async Task Open_AfterAProcessEndedWhileItWroteTheFileAnew_RemovesWhatItLeft()
    {
        var (states, _) = await ChangeAsync();
        await File.WriteAllTextAsync(Journal + ".new", "half a fi");

        using var reopened = ContextSamples.Open(_folder.Path, _time);

        Assert.That(File.Exists(Journal + ".new"), Is.False);
        Assert.That(await ContextSamples.DescribeAsync(reopened), Is.EqualTo(states[^1]));
    }

    [Test]
    public async Task Open_AJournalOfALaterVersion_IsRefusedAndUntouched()
    {
        await ChangeAsync();
        var bytes = await File.ReadAllBytesAsync(Journal);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), 2);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(12), Crc32C(bytes.AsSpan(0, 12)));
        await File.WriteAllBytesAsync(Journal, bytes);

        var fault = Assert.Throws<ContextCatalogException>(() => ContextSamples.Open(_folder.Path, _time));

        Assert.That(fault!.Message, Does.Contain(Journal).And.Contain("version 2").And.Contain("expected 1"));
        Assert.That(await File.ReadAllBytesAsync(Journal), Is.EqualTo(bytes));
    }

    [TestCase("somebody's file", "mooncctx")]
    [TestCase("mooncctx and no number", "checksum")]
    public async Task Open_AFileOfAnotherKind_IsRefusedAndUntouched(string text, string complaint)
    {
        await File.WriteAllTextAsync(Journal, text);

        var fault = Assert.Throws<ContextCatalogException>(() => ContextSamples.Open(_folder.Path, _time));

        Assert.That(fault!.Message, Does.Contain(Journal).And.Contain(complaint));
        Assert.That(await File.ReadAllTextAsync(Journal), Is.EqualTo(text));
    }

    [Test]
    public void Open_AFolderInUse_IsRefused()
    {
        using var first = ContextSamples.Open(_folder.Path, _time);

        var fault = Assert.Throws<ContextCatalogException>(() => ContextSamples.Open(_folder.Path, _time));

        Assert.That(fault!.Message, Does.Contain(_folder.Path).And.Contain("in use"));
    }

    [Test]
    public async Task Journal_AfterManyChanges_StaysSmallAndWhole()
    {
        string expected;
        using (var catalog = ContextSamples.Open(
            _folder.Path, _time, options => options with { CompactBytesMin = 2048 }))
        {
            var created = await catalog.CreateAsync(ContextSamples.Context(_time), ["tag"], _never);
            for (var i = 0; i < 500; i++)
            {
                await catalog.UpdateAsync(
                    "a", created.Id, new ContextUpdate(ExpiresUnixMs: created.ExpiresUnixMs + i), _never);
                Assert.That(catalog.JournalBytes, Is.LessThan(8192), $"change {i}");
            }

            expected = await ContextSamples.DescribeAsync(catalog);
        }

        using var reopened = ContextSamples.Open(_folder.Path, _time);
        Assert.That(await ContextSamples.DescribeAsync(reopened), Is.EqualTo(expected));
    }

    [Test]
    public async Task Journal_ThatCannotBeWrittenAnew_GoesOnAsItIs()
    {
        using var catalog = ContextSamples.Open(
            _folder.Path, _time, options => options with { CompactBytesMin = 1 << 20, ContextBytesMax = 200 << 20 });
        await catalog.CreateAsync(ContextSamples.Context(_time), [], _never);
        var before = await ContextSamples.DescribeAsync(catalog);

        // A folder has the name of the file to be written.
        Directory.CreateDirectory(Journal + ".new");
        await catalog.CreateAsync(ContextSamples.Context(_time, name: "large", bytes: 3 << 20), [], _never);
        await catalog.CreateAsync(ContextSamples.Context(_time, name: "last"), [], _never);

        var after = await ContextSamples.DescribeAsync(catalog);
        Assert.That(after, Does.StartWith(before).And.Contain("large").And.Contain("last"));
    }

    [Test]
    public async Task Forgotten_Contexts_AreGoneAfterAReopenToo()
    {
        using (var catalog = ContextSamples.Open(_folder.Path, _time))
        {
            await catalog.CreateAsync(ContextSamples.Context(_time, seconds: 1), ["tag"], _never);
            await catalog.CreateAsync(ContextSamples.Context(_time, seconds: 30 * 24 * 3600, name: "kept"), [], _never);
        }

        _time.Advance(TimeSpan.FromDays(8));
        using var reopened = ContextSamples.Open(_folder.Path, _time);

        Assert.That((await ContextSamples.DescribeAsync(reopened)).Split('\n'), Has.Length.EqualTo(1));
        Assert.That(await reopened.GetTagAsync("a", "tag", _never), Is.Null);
    }

    /// <summary>Every kind of change; what a tenant has after each, and where its record ends.</summary>
    private async Task<(List<string> States, List<int> Ends)> ChangeAsync()
    {
        using var catalog = ContextSamples.Open(_folder.Path, _time);
        var states = new List<string>();
        var ends = new List<int>();
        async Task NoteAsync()
        {
            states.Add(await ContextSamples.DescribeAsync(catalog));
            ends.Add((int)catalog.JournalBytes);
        }

        var first = await catalog.CreateAsync(ContextSamples.Context(_time, name: "first"), ["one", "two"], _never);
        await NoteAsync();
        var second = await catalog.CreateAsync(ContextSamples.Context(_time, name: "second"), [], _never);
        await NoteAsync();
        await catalog.UpdateAsync("a", second.Id, new ContextUpdate(State: ContextState.Ready), _never);
        await NoteAsync();
        await catalog.SetTagAsync("a", "two", second.Id, _never);
        await NoteAsync();
        await catalog.DeleteTagAsync("a", "one", _never);
        await NoteAsync();
        await catalog.DeleteAsync("a", first.Id, _never);
        await NoteAsync();
        return (states, ends);
    }

    private static uint Crc32C(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78);
            }
        }

        return crc;
    }
}
