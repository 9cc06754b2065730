namespace Kimi.Mooncake.Store.Tests;

/// <summary>
/// Random damage to any file of the folder: the store opens, serves right bytes or misses, and goes on.
/// </summary>
public sealed class DamageTests
{
    private const int Blocks = 120;
    private const int RoundsPerCase = 20;

    [Test]
    public async Task Reopen_AfterRandomDamage_ServesRightBytesOrMisses([Range(0, 24)] int group)
    {
        using var original = new TemporaryFolder();
        await FillAsync(original.Path, group);
        for (var round = 0; round < RoundsPerCase; round++)
        {
            var seed = (group * RoundsPerCase) + round;
            using var folder = new TemporaryFolder();
            foreach (var file in Directory.GetFiles(original.Path))
            {
                File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
            }

            var what = Damage(folder.Path, new Random(seed));
            await CheckAsync(folder.Path, $"seed {seed}: {what}");
        }
    }

    [Test]
    public async Task Get_FileDamagedWhileOpen_ServesRightBytesOrMisses([Range(0, 19)] int seed)
    {
        using var folder = new TemporaryFolder();
        await FillAsync(folder.Path, seed);
        await using (var store = TestBlocks.OpenSmall(folder.Path))
        {
            TestBlocks.Has(store, 0);
            var what = Damage(folder.Path, new Random(seed));
            for (var number = 0; number < Blocks; number++)
            {
                Guard(() => TestBlocks.Has(store, number), $"seed {seed}: {what}");
            }

            TestBlocks.Put(store, 1_000);
            Assert.That(TestBlocks.Has(store, 1_000));
            await store.FlushAsync();
            store.Check();
        }

        await CheckAsync(folder.Path, $"seed {seed}");
    }

    [Test]
    public async Task Get_BlockDamagedOnDisk_IsAMissCountedAndRemoved()
    {
        using var folder = new TemporaryFolder();
        await FillAsync(folder.Path, 0);
        var path = Path.Combine(folder.Path, "blocks.0");
        var bytes = await File.ReadAllBytesAsync(path);
        bytes[1_000] ^= 1;
        await File.WriteAllBytesAsync(path, bytes);

        await using var store = TestBlocks.OpenSmall(folder.Path);

        Assert.That(store.Contains(TestBlocks.Key(0)));
        Assert.That(TestBlocks.Has(store, 0), Is.False);
        Assert.That(store.Contains(TestBlocks.Key(0)), Is.False);
        Assert.That(store.Statistics(), Has.Property("Damaged").EqualTo(1).And.Property("Misses").EqualTo(1));
        Assert.That(TestBlocks.Put(store, 0), Is.EqualTo(PutResult.Stored));
        Assert.That(TestBlocks.Has(store, 0));
    }

    [Test]
    public async Task Reopen_StrangeFilesAndNumbers_StartsAndServes()
    {
        using var folder = new TemporaryFolder();
        await FillAsync(folder.Path, 0);
        foreach (var name in new[]
            { "blocks.", "blocks.x", "blocks.-1", "blocks.999999999", "blocks.99999999999", "blocks.7.index", "other" })
        {
            await File.WriteAllBytesAsync(Path.Combine(folder.Path, name), TestBlocks.Bytes(1, 500));
        }

        Directory.CreateDirectory(Path.Combine(folder.Path, "blocks.77"));

        await CheckAsync(folder.Path, "strange files");
    }

    // Several sessions, so that the folder holds restarts, a partly filled segment and several full ones.
    private static async Task FillAsync(string path, int seed)
    {
        var random = new Random(seed);
        for (var number = 0; number < Blocks;)
        {
            await using var store = TestBlocks.OpenSmall(path);
            for (var left = random.Next(10, 60); left > 0 && number < Blocks; left--, number++)
            {
                Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
            }
        }
    }

    private static async Task CheckAsync(string path, string what)
    {
        int hits;
        await using (var store = TestBlocks.OpenSmall(path))
        {
            hits = CountHits(store, what);
            for (var number = 2_000; number < 2_040; number++)
            {
                Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored), what);
            }

            Assert.That(await store.FlushAsync(), what);
            store.Check();
        }

        await using var again = TestBlocks.OpenSmall(path);
        Assert.That(CountHits(again, what), Is.EqualTo(hits), what);
        for (var number = 2_000; number < 2_040; number++)
        {
            Assert.That(TestBlocks.Has(again, number), $"{what}: new block {number}");
        }
    }

    private static int CountHits(KvBlockStore store, string what)
    {
        var hits = 0;
        Guard(() => hits = Enumerable.Range(0, Blocks).Count(number => TestBlocks.Has(store, number)), what);
        return hits;
    }

    private static void Guard(Action action, string what)
    {
        try
        {
            action();
        }
        catch (Exception exception)
        {
            throw new InvalidOperationException(what, exception);
        }
    }

    private static string Damage(string folder, Random random)
    {
        var did = new List<string>();
        for (var times = random.Next(1, 4); times > 0; times--)
        {
            string[] files = [.. Directory.GetFiles(folder).Where(static path => Path.GetFileName(path) != "lock")];
            if (files.Length == 0)
            {
                break;
            }

            Array.Sort(files, StringComparer.Ordinal);
            var path = files[random.Next(files.Length)];
            did.Add(random.Next(9) == 0
                ? Delete(path)
                : $"{Damage(path, files, random)} {Path.GetFileName(path)}");
        }

        return string.Join(", ", did);
    }

    private static string Delete(string path)
    {
        File.Delete(path);
        return $"delete {Path.GetFileName(path)}";
    }

    private static string Damage(string path, string[] files, Random random)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var (name, changed) = random.Next(8) switch
        {
            0 => ("empty", []),
            1 => ("truncate", bytes[..random.Next(bytes.Length + 1)]),
            2 => ("flip one", Flip(bytes, random, 1)),
            3 => ("flip many", Flip(bytes, random, 1 + (bytes.Length / 50))),
            4 => ("zero a part of", Fill(bytes, random, () => 0)),
            5 => ("scramble a part of", Fill(bytes, random, () => (byte)random.Next(256))),
            6 => ("extend", [.. bytes, .. TestBlocks.Bytes(random.Next(), random.Next(100_000))]),
            _ => ("replace with another file", ReadShared(files[random.Next(files.Length)], path, bytes)),
        };
        file.SetLength(0);
        file.Write(changed);
        return name;
    }

    private static byte[] ReadShared(string other, string path, byte[] own)
    {
        if (other == path)
        {
            return own;
        }

        using var file = new FileStream(other, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }

    private static byte[] Flip(byte[] bytes, Random random, int count)
    {
        for (var i = 0; i < count && bytes.Length > 0; i++)
        {
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
        }

        return bytes;
    }

    private static byte[] Fill(byte[] bytes, Random random, Func<byte> value)
    {
        var from = random.Next(bytes.Length + 1);
        var to = random.Next(from, bytes.Length + 1);
        for (var i = from; i < to; i++)
        {
            bytes[i] = value();
        }

        return bytes;
    }
}
