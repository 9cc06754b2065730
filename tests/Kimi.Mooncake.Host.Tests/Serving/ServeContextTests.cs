using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Serving;

[TestFixture]
internal sealed class ServeContextTests
{
    [Test]
    public async Task OpenStore_WithEachKvType_HasAFolderOfItsOwnThatStays()
    {
        // Arrange
        using var folder = new TemporaryFolder();
        NeedleModel.Write(folder.Model);
        using var model = LoadedModel.Open(new ModelOptions { Path = folder.Model });

        // Act
        var folders = new List<string[]>();
        foreach (var kvType in new[] { "f32", "bf16", "q8", "f32" })
        {
            await using var parts = new OpenedParts();
            var settings = ResolvedSettings.Resolve(
                SettingSection.All,
                SettingSources.FromArguments([$"store.directory={folder.Store}", $"worker.kv_type={kvType}"]));
            new ServeContext(settings, NullLoggerFactory.Instance, TimeProvider.System, parts).OpenStore(model);
            folders.Add([.. Directory.GetDirectories(folder.Store).Select(path => Path.GetFileName(path)!).Order()]);
        }

        // Assert
        Assert.That(folders.Select(found => found.Length), Is.EqualTo(new[] { 1, 2, 3, 3 }));
        Assert.That(
            folders[^1],
            Has.One.EndsWith("-64-f32").And.One.EndsWith("-64-bf16").And.One.EndsWith("-64-q8"));
    }
}
