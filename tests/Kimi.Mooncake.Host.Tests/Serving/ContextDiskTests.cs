using System.Text;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Host.Chaos;
using Microsoft.Extensions.Logging.Abstractions;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>A catalog of contexts on a disk that becomes full; skipped where no disk can be mounted.</summary>
[TestFixture]
internal sealed class ContextDiskTests
{
    private readonly CancellationToken _never = CancellationToken.None;

    [Test]
    public async Task Disk_Full_RefusesChangesAndKeepsWhatWasAnswered()
    {
        using var folder = new TemporaryFolder();
        var (mounted, reason) = await SmallDisk.MountAsync(folder.File("disk"), 1 << 20);
        if (mounted is not { } disk)
        {
            Assert.Ignore($"skipped: no disk can be mounted here: {reason}");
            return;
        }

        await using var unmounted = disk;
        var kept = new List<string>();
        using (var catalog = Open(folder))
        {
            kept.Add((await catalog.CreateAsync(Context(), [], _never)).Id);
            await disk.FillAsync();
            var fault = await Assert.ThrowsAsync<ContextCatalogException>(async () =>
            {
                // A journal may still have some room in its last page.
                while (true)
                {
                    kept.Add((await catalog.CreateAsync(Context(), [], _never)).Id);
                }
            });
            Assert.That(fault!.Message, Does.Contain("contexts.journal"));
            Assert.That(await IdsAsync(catalog), Is.EqualTo(kept));

            disk.Free();
            kept.Add((await catalog.CreateAsync(Context(), [], _never)).Id);
        }

        using var reopened = Open(folder);
        Assert.That(await IdsAsync(reopened), Is.EqualTo(kept));
    }

    private static ContextCatalog Open(TemporaryFolder folder) => ContextCatalog.Open(
        new ContextCatalogOptions { Directory = folder.File("disk/contexts") }, TimeProvider.System,
        NullLogger.Instance);

    private static KeptContext Context() => new()
    {
        Tenant = "",
        Model = "kimi",
        Messages = Encoding.UTF8.GetBytes($"[\"{new string('m', 3000)}\"]"),
        ExpiresUnixMs = long.MaxValue / 2,
        Tokens = 1,
    };

    private async Task<IEnumerable<string>> IdsAsync(ContextCatalog catalog)
    {
        var all = await catalog.ListAsync("", new ContextQuery { Limit = 100, Ascending = true }, _never);
        return all!.Select(context => context.Id);
    }
}
