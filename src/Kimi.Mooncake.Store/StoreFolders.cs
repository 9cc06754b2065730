using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>Stores as they lie on disk, for tools that know no more than a folder.</summary>
public static class StoreFolders
{
    /// <summary>The stores in a folder: itself, or a folder of it for each model.</summary>
    /// <param name="directory">A folder.</param>
    /// <returns>Their folders, by name; none where there is no store.</returns>
    /// <exception cref="StoreException">It cannot be read.</exception>
    public static IReadOnlyList<string> Find(string directory)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        try
        {
            return IsStore(directory) || !Directory.Exists(directory)
                ? [.. new[] { directory }.Where(IsStore)]
                : [.. Directory.EnumerateDirectories(directory).Where(IsStore).Order(StringComparer.Ordinal)];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"'{directory}' cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>Opens a store for the model and layout that it was written with; nothing in it is dropped.</summary>
    /// <param name="options">
    /// Folder and limits. The size of segments is that of the folder, and the limit on disk at least twice what it has.
    /// </param>
    /// <param name="logger">As of <see cref="KvBlockStore.Open"/>.</param>
    /// <exception cref="StoreException">
    /// As of <see cref="KvBlockStore.Open"/>; or there is no store, or one of an older version.
    /// </exception>
    public static KvBlockStore OpenAsItIs(KvBlockStoreOptions options, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        var manifest = ReadManifest(options.Directory);
        var layout = KvLayout.Parse(manifest.Layout) ?? throw new StoreException(
            $"'{options.Directory}/{StoreManifest.FileName}' says layout '{manifest.Layout}', which is unknown");
        var bytes = new DirectoryInfo(options.Directory).EnumerateFiles().Sum(static file => file.Length);
        return KvBlockStore.Open(
            options with
            {
                SegmentBytes = manifest.SegmentBytes,
                DiskBytes = Math.Max(options.DiskBytes, 2 * bytes),
            },
            layout,
            manifest.Fingerprint,
            logger);
    }

    private static bool IsStore(string directory) => File.Exists(Path.Combine(directory, StoreManifest.FileName));

    private static StoreManifest ReadManifest(string directory)
    {
        try
        {
            var manifest = StoreManifest.Read(directory) ?? throw new StoreException(
                $"'{directory}' holds no store: its file '{StoreManifest.FileName}' is missing or damaged");
            return manifest.Version == StoreGeometry.FormatVersion ? manifest : throw new StoreException(
                $"'{directory}' is of format version {manifest.Version}; expected {StoreGeometry.FormatVersion}");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"'{directory}' cannot be read: {exception.Message}", exception);
        }
    }
}
