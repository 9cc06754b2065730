namespace Kimi.Mooncake.Models.Tests.Gguf;

/// <summary>Reference data that may lie beside the repository; tests that need it are skipped without it.</summary>
internal static class SharedData
{
    public static string File(params string[] parts)
    {
        var relative = Path.Combine(parts);
        var root = Root();
        if (root is null || !System.IO.File.Exists(Path.Combine(root, relative)))
        {
            Assert.Ignore($"skipped: {relative} is not in shared/data beside the repository (or in MOONCAKE_DATA)");
        }

        return Path.Combine(root!, relative);
    }

    private static string? Root()
    {
        if (Environment.GetEnvironmentVariable("MOONCAKE_DATA") is { Length: > 0 } configured)
        {
            return configured;
        }

        for (var folder = new DirectoryInfo(TestContext.CurrentContext.TestDirectory);
            folder is not null;
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
