using System.Security.Cryptography;
using System.Text.Json;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Host.Tests.StoreTools;

/// <summary>The commands that look into a folder, on a folder with one store of 40 blocks.</summary>
[TestFixture]
internal sealed class StoreFolderCommandTests
{
    private const int Blocks = 40;
    private const string Model = "model-16";

    private readonly CrashObjects _objects = new(seed: 3);
    private TemporaryFolder _folder = null!;

    private string StoreFolder => Path.Combine(_folder.Path, Model);

    [SetUp]
    public async Task WriteStore()
    {
        _folder = new TemporaryFolder();
        await using var store = OpenStore();
        var block = new byte[CrashObjects.Layout.BytesPerBlock];
        for (var i = 0; i < Blocks; i++)
        {
            _objects.Fill(i, block);
            var attributes = new BlockAttributes(
                i < 10 ? "acme" : "other", new BlockRetention(i == 0 ? PinKind.Soft : PinKind.None), BlockClass.Prompt);
            Assert.That(
                store.Put(_objects.KeyOf(i), _objects.ParentOf(i), block, attributes), Is.EqualTo(PutResult.Stored));
        }
    }

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Stat_WhileTheStoreIsOpen_SaysWhatIsThere()
    {
        await using var store = OpenStore();

        var stat = (await RunAsync("stat", "--directory", _folder.Path)).GetProperty("stores")[0];

        Assert.That(stat.GetProperty("folder").GetString(), Is.EqualTo(StoreFolder));
        Assert.That(stat.GetProperty("blocks").GetInt64(), Is.EqualTo(Blocks));
        Assert.That(stat.GetProperty("block_bytes").GetInt32(), Is.EqualTo(CrashObjects.Layout.BytesPerBlock));
        Assert.That(stat.GetProperty("live_bytes").GetInt64(), Is.GreaterThan(Blocks * 4096));
        Assert.That(
            stat.GetProperty("tenants").EnumerateArray().ToDictionary(
                tenant => tenant.GetProperty("name").GetString()!, tenant => tenant.GetProperty("blocks").GetInt32()),
            Is.EquivalentTo(new Dictionary<string, int> { ["acme"] = 10, ["other"] = Blocks - 10 }));
    }

    [Test]
    public async Task List_OfOneTenant_GivesItsBlocksInOrder()
    {
        var list = (await RunAsync("ls", "--tenant", "acme", "--directory", StoreFolder)).GetProperty("stores")[0];

        var keys = list.GetProperty("blocks").EnumerateArray().Select(block => block.GetProperty("key").GetString());
        var expected = Enumerable.Range(0, 10).Select(i => _objects.KeyOf(i).ToString());
        Assert.That(keys, Is.EqualTo(expected.Order(StringComparer.Ordinal)));
        var first = list.GetProperty("blocks").EnumerateArray()
            .Single(block => block.GetProperty("key").GetString() == _objects.KeyOf(0).ToString());
        Assert.That(first.GetProperty("pin").GetString(), Is.EqualTo("soft"));
        Assert.That(first.GetProperty("parent").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(first.GetProperty("tokens").GetInt32(), Is.EqualTo(KvLayout.BlockTokensMin));
    }

    [Test]
    public async Task Get_FirstDigits_GivesTheBytes()
    {
        var expected = new byte[CrashObjects.Layout.BytesPerBlock];
        _objects.Fill(7, expected);
        var output = _folder.File("block");

        var got = await RunAsync(
            "get", _objects.KeyOf(7).ToString()[..12], "--output", output, "--directory", _folder.Path);

        Assert.That(await File.ReadAllBytesAsync(output), Is.EqualTo(expected));
        Assert.That(
            got.GetProperty("sha256").GetString(), Is.EqualTo(Convert.ToHexStringLower(SHA256.HashData(expected))));
    }

    [TestCase("get", "0000", "no block with key 0000")]
    [TestCase("get", "xyzw", "expected at least 4 hexadecimal digits")]
    public async Task Get_KeyThatIsNotThere_SaysSo(string command, string key, string fault)
    {
        var run = await CommandRun.OfAsync("store", command, key, "--directory", _folder.Path);

        Assert.That(run.Code, Is.Not.Zero);
        Assert.That(run.Error, Does.Contain(fault));
    }

    [Test]
    public async Task Verify_OneByteChanged_NamesTheBlock()
    {
        var intact = (await RunAsync("verify", "--directory", _folder.Path)).GetProperty("stores")[0];
        var block = (await RunAsync("get", _objects.KeyOf(3).ToString(), "--directory", _folder.Path))
            .GetProperty("block");
        Damage(block.GetProperty("segment").GetInt32(), block.GetProperty("offset").GetInt64() + 2_000);

        var run = await CommandRun.OfAsync("store", "verify", "--directory", _folder.Path, "--json");

        Assert.That(intact.GetProperty("intact").GetInt64(), Is.EqualTo(Blocks));
        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        using var document = JsonDocument.Parse(run.Output);
        var damaged = document.RootElement.GetProperty("stores")[0];
        Assert.That(damaged.GetProperty("intact").GetInt64(), Is.EqualTo(Blocks - 1));
        Assert.That(damaged.GetProperty("bad")[0].GetString(), Is.EqualTo(_objects.KeyOf(3).ToString()));
        Assert.That(run.Error, Does.Contain("100 %").And.Contain("s left"));
    }

    [Test]
    public async Task Compact_MostBlocksGone_GivesRoomBackAndKeepsTheRest()
    {
        const int End = 1_500;
        const int KeepOneOf = 8;
        var left = End;
        await using (var store = OpenStore())
        {
            await FillAsync(store, Blocks, End);
            for (var i = Blocks; i < End; i++)
            {
                // Some stay in every file, so that no file goes by itself.
                if (i % KeepOneOf != 0)
                {
                    store.Remove(_objects.KeyOf(i));
                    left--;
                }
            }
        }

        var compacted = (await RunAsync("compact", "--directory", _folder.Path)).GetProperty("stores")[0];

        Assert.That(compacted.GetProperty("segments").GetInt32(), Is.GreaterThan(0));
        Assert.That(
            compacted.GetProperty("bytes_after").GetInt64(),
            Is.LessThan(compacted.GetProperty("bytes_before").GetInt64() / 2));
        var verified = (await RunAsync("verify", "--directory", _folder.Path)).GetProperty("stores")[0];
        Assert.That(verified.GetProperty("intact").GetInt64(), Is.EqualTo(left));
    }

    [Test]
    public async Task Compact_WhileTheStoreIsOpen_SaysSo()
    {
        await using var store = OpenStore();

        var run = await CommandRun.OfAsync("store", "compact", "--directory", _folder.Path);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Contain("is in use by another process"));
    }

    [TestCase("stat")]
    [TestCase("ls")]
    [TestCase("verify")]
    [TestCase("compact")]
    public async Task FolderCommand_NoStoreThere_SaysWhatWasExpected(string command)
    {
        var nowhere = Path.Combine(_folder.Path, "nowhere");

        var run = await CommandRun.OfAsync("store", command, "--directory", nowhere);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Contain($"'{nowhere}' holds no store; expected a folder with a file 'format'"));
    }

    [Test]
    public async Task FolderCommand_DirectoryFromConfig_IsUsed()
    {
        var config = _folder.File("config.json");
        await File.WriteAllTextAsync(
            config, JsonSerializer.Serialize(new { store = new { directory = _folder.Path } }));

        var run = await CommandRun.OfAsync("store", "stat", "--config", config);

        Assert.That(run.Code, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Contain(Model).And.Contain($"{Blocks}").And.Contain("tenant 'acme'"));
    }

    private static async Task<JsonElement> RunAsync(params string[] arguments)
    {
        var run = await CommandRun.OfAsync(["store", .. arguments, "--json"]);
        Assert.That(run.Code, Is.Zero, run.Error);
        using var document = JsonDocument.Parse(run.Output);
        return document.RootElement.Clone();
    }

    private async Task FillAsync(KvBlockStore store, int first, int end)
    {
        var block = new byte[CrashObjects.Layout.BytesPerBlock];
        for (var i = first; i < end; i++)
        {
            _objects.Fill(i, block);
            Assert.That(store.Put(_objects.KeyOf(i), _objects.ParentOf(i), block), Is.EqualTo(PutResult.Stored));
        }

        Assert.That(await store.FlushAsync(), Is.True);
    }

    private void Damage(int segment, long offset)
    {
        using var file = File.OpenHandle(
            Path.Combine(StoreFolder, $"blocks.{segment}"), access: FileAccess.ReadWrite);
        var one = new byte[1];
        RandomAccess.Read(file, one, offset);
        one[0] ^= 1;
        RandomAccess.Write(file, one, offset);
    }

    private KvBlockStore OpenStore() => KvBlockStore.Open(
        CrashObjects.OptionsOf(StoreFolder), CrashObjects.Layout, CrashObjects.Fingerprint);
}
