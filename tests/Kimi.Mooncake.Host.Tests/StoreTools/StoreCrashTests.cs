using System.Text.Json;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Host.Tests.StoreTools;

[TestFixture]
internal sealed class StoreCrashTests
{
    private const int Kills = 5;

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Crash_FiveKills_LosesNothingThatWasSettled()
    {
        // A slow machine may flush late; what outlived the kill before is settled in any case.
        var run = await CommandRun.OfAsync(
            "store", "crash", "--kills", $"{Kills}", "--seed", "5", "--loss-ms", "3000", "--verbose", "--json",
            "--directory", Path.Combine(_folder.Path, "store"));

        using var document = JsonDocument.Parse(run.Output);
        var report = document.RootElement;
        Assert.That(report.GetProperty("kills").GetInt32(), Is.EqualTo(Kills));
        Assert.That(report.GetProperty("lost").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("came_back").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("wrong").GetInt32(), Is.Zero, run.Error);
        Assert.That(report.GetProperty("expected").GetInt64(), Is.GreaterThan(100), run.Error);
        Assert.That(run.Error.Split("kill ").Length - 1, Is.EqualTo(Kills));
    }

    [Test]
    public async Task Crash_FolderNotEmpty_IsRefused()
    {
        await File.WriteAllTextAsync(_folder.File("mine"), "x");

        var run = await CommandRun.OfAsync("store", "crash", "--kills", "1", "--directory", _folder.Path);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("is not empty"));
    }

    [Test]
    public async Task CrashBooks_StoreThatLostAndKeptTheWrong_SaysSo()
    {
        var objects = new CrashObjects(seed: 1);
        await using var store = KvBlockStore.Open(
            CrashObjects.OptionsOf(_folder.Path), CrashObjects.Layout, CrashObjects.Fingerprint);
        var block = new byte[CrashObjects.Layout.BytesPerBlock];
        Put(store, objects, 1, block, contentOf: 1);
        Put(store, objects, 2, block, contentOf: 3);
        Put(store, objects, 4, block, contentOf: 4);
        var books = new CrashBooks(objects);
        foreach (var line in (string[])
            ["put 0 100", "put 1 100", "put 2 100", "put 3 5000", "put 4 100", "removing 4 100", "removed 4 200"])
        {
            books.Note(line);
        }

        var findings = books.Compare(store, settledMs: 1_000, CancellationToken.None);

        Assert.That((findings.Lost, findings.Wrong, findings.CameBack), Is.EqualTo((1, 1, 1)), "0, 2 and 4");
        Assert.That(findings.Expected, Is.EqualTo(3), "the fourth was too young");
        Assert.That(findings.Examples, Is.EqualTo(new long[] { 0, 4 }));
        Assert.That(books.Known, Is.EqualTo(new long[] { 1, 2, 4 }));
    }

    [Test]
    public void CrashObjects_SameNumberAndSeed_AreTheSame()
    {
        var block = new byte[CrashObjects.Layout.BytesPerBlock];
        new CrashObjects(seed: 7).Fill(12, block);

        Assert.That(new CrashObjects(seed: 7).IsRight(12, block), Is.True);
        Assert.That(new CrashObjects(seed: 7).IsRight(13, block), Is.False);
        Assert.That(new CrashObjects(seed: 8).IsRight(12, block), Is.False);
        Assert.That(new CrashObjects(seed: 7).KeyOf(12), Is.Not.EqualTo(new CrashObjects(seed: 8).KeyOf(12)));
        Assert.That(new CrashObjects(seed: 7).ParentOf(16), Is.EqualTo(default(BlockKey)));
    }

    private static void Put(KvBlockStore store, CrashObjects objects, long number, byte[] block, long contentOf)
    {
        objects.Fill(contentOf, block);
        Assert.That(store.Put(objects.KeyOf(number), default, block), Is.EqualTo(PutResult.Stored));
    }
}
