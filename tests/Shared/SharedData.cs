namespace Kimi.Mooncake.Tests;

/// <summary>
/// Reference data that may lie beside the repository: in the folder that MOONCAKE_DATA names, or in <c>shared/data</c>
/// next to the checkout. Tests that need it skip where it is missing.
/// </summary>
internal static class SharedData
{
    public static string PathOf(params string[] parts)
    {
        var path = Path.Combine([Root() ?? "", .. parts]);
        if (Root() is null || !(File.Exists(path) || Directory.Exists(path)))
        {
            Assert.Ignore($"skipped: reference data {Path.Combine(parts)} is not here");
        }

        return path;
    }

    private static string? Root()
    {
        if (Environment.GetEnvironmentVariable("MOONCAKE_DATA") is { Length: > 0 } configured)
        {
            return configured;
        }

        for (var folder = new DirectoryInfo(TestContext.CurrentContext.TestDirectory); folder is not null;
             folder = folder.Parent)
        {
            var candidate = Path.Combine(folder.FullName, "shared", "data");
            if (Directory.Exists(candidate))
            {
                return candidate;
            }
        }

        return null;
    }
}
