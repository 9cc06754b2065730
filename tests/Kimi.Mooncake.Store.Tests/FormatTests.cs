using System.Buffers.Binary;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>Folders of other versions and models, and the reader that looks into a folder from outside.</summary>
public sealed class FormatTests
{
    private readonly MessageList _messages = new();
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Open_FolderOfALaterVersion_IsRefusedAndLeftAsItIs()
    {
        await FillAsync(10);
        var text = "kv-store 3\nsomething new\n";
        var checksum = Crc32C.Finish(Crc32C.Append(Crc32C.Start, Encoding.UTF8.GetBytes(text)));
        await File.WriteAllTextAsync(Path.Combine(_folder.Path, "format"), $"{text}crc {checksum:x8}\n");
        var before = Files();

        var error = Assert.Throws<StoreException>(() => TestBlocks.OpenSmall(_folder.Path));

        Assert.That(error!.Message, Does.Contain("format").And.Contain("3").And.Contain("2"));
        Assert.Throws<StoreException>(() => StoreReader.Open(_folder.Path));
        Assert.That(Files(), Is.EqualTo(before));
    }

    [Test]
    public async Task Open_FolderOfVersion1_IsDroppedWithALineThatSaysSo()
    {
        var record = new byte[4_096];
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(68), 0x4B56424B);
        BinaryPrimitives.WriteUInt16LittleEndian(record.AsSpan(72), 1);
        await File.WriteAllBytesAsync(Path.Combine(_folder.Path, "blocks.0"), record);
        await File.WriteAllBytesAsync(Path.Combine(_folder.Path, "blocks.0.index"), new byte[48]);

        await using var store = TestBlocks.Open(TestBlocks.SmallOptions(_folder.Path), logger: _messages);

        Assert.That(_messages.All, Has.Some.Contains("version 1").And.Some.Contains("dropped"));
        Assert.That(File.Exists(Path.Combine(_folder.Path, "blocks.0")), Is.False);
        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Stored));
    }

    [Test]
    public async Task Open_FolderOfAnotherModel_IsDroppedWithALineThatSaysSo()
    {
        await FillAsync(10);

        await using var store = TestBlocks.Open(
            TestBlocks.SmallOptions(_folder.Path), "another model", logger: _messages);

        Assert.That(_messages.All, Has.Some.Contains("another model"));
        Assert.That(store.Statistics(), Has.Property("Blocks").Zero.And.Property("Segments").Zero);
    }

    [TestCase("format")]
    [TestCase("tenants")]
    public async Task Open_SmallFileMissing_FindsEveryBlock(string name)
    {
        await FillAsync(10);
        File.Delete(Path.Combine(_folder.Path, name));

        await using var store = TestBlocks.OpenSmall(_folder.Path);

        Assert.That(Enumerable.Range(0, 10).All(number => TestBlocks.Has(store, number)));
        Assert.That(store.Tenants().Select(static tenant => tenant.Name), Does.Contain("acme"));
        Assert.That(File.Exists(Path.Combine(_folder.Path, "format")));
    }

    [Test]
    public async Task Reader_WhileAServerHasTheFolder_ListsReadsAndVerifies()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        Put(store, 20);
        store.Remove(TestBlocks.Key(19));
        await store.FlushAsync();
        store.Remove(TestBlocks.Key(18));
        await store.FlushAsync();

        var reader = StoreReader.Open(_folder.Path);

        var contents = reader.Stat();
        Assert.That(contents, Has.Property("Blocks").EqualTo(18).And.Property("DamagedEntries").Zero);
        Assert.That(contents.Fingerprint, Is.EqualTo(TestBlocks.Fingerprint));
        Assert.That(
            contents.Tenants.Select(static tenant => (tenant.Name, tenant.Blocks)),
            Is.EquivalentTo(new[] { ("acme", 9L), ("", 9L) }));
        var block = reader.List(TestBlocks.Key(3).ToString()[..10]).Single();
        Assert.That(block, Has.Property("Tenant").EqualTo("acme").And.Property("Parent").EqualTo(TestBlocks.Key(2)));
        Assert.That(block.Pin, Is.EqualTo(PinKind.Soft));
        Assert.That(reader.List(tenant: "acme", limit: 4).Count(), Is.EqualTo(4));
        var bytes = new byte[reader.BlockBytes];
        Assert.That(reader.TryRead(TestBlocks.Key(3), bytes));
        Assert.That(bytes, Is.EqualTo(TestBlocks.Bytes(3, bytes.Length)));
        Assert.That(reader.TryRead(TestBlocks.Key(19), bytes), Is.False);
        Assert.That(reader.Verify(), Has.Property("Intact").EqualTo(18).And.Property("Bad").Empty);
    }

    [Test]
    public async Task Verify_DamagedBlock_NamesIt()
    {
        await FillAsync(10);
        var info = StoreReader.Open(_folder.Path).List().Single(static block => block.Key == TestBlocks.Key(4));
        await using (var file = new FileStream(Path.Combine(_folder.Path, $"blocks.{info.Segment}"), FileMode.Open))
        {
            file.Position = info.Offset + info.Bytes - 100;
            var value = file.ReadByte();
            file.Position--;
            file.WriteByte((byte)(value ^ 1));
        }

        var result = StoreReader.Open(_folder.Path).Verify();

        Assert.That(result.Bad, Is.EqualTo(new[] { TestBlocks.Key(4) }));
        Assert.That(result.Intact, Is.EqualTo(9));
    }

    [Test]
    public void Reader_FolderWithoutAStore_SaysSo() =>
        Assert.That(
            Assert.Throws<StoreException>(() => StoreReader.Open(_folder.Path))!.Message, Does.Contain(_folder.Path));

    // Every other block is of acme, follows on the one before and has a soft pin.
    private static void Put(KvBlockStore store, int blocks)
    {
        var acme = new BlockAttributes("acme", new BlockRetention(PinKind.Soft), BlockClass.Context);
        for (var number = 0; number < blocks; number++)
        {
            Assert.That(
                number % 2 == 0
                    ? TestBlocks.Put(store, number)
                    : TestBlocks.PutAfter(store, number, number - 1, acme),
                Is.EqualTo(PutResult.Stored));
        }
    }

    private async Task FillAsync(int blocks)
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        Put(store, blocks);
    }

    private string[] Files() =>
        [.. new DirectoryInfo(_folder.Path).GetFiles().Select(static file => $"{file.Name} {file.Length}").Order()];
}
