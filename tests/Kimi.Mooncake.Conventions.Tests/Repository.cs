namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>The working tree that the test runs in, without anything that builds or runs leave behind.</summary>
internal static class Repository
{
    private const string SolutionName = "Kimi.Mooncake.sln";

    private static readonly string[] IgnoredFolders =
        ["bin", "obj", "artifacts", "data", "TestResults", ".git", ".vs", ".idea", ".vscode"];

    private static readonly string[] TextExtensions =
        [".cs", ".csproj", ".props", ".targets", ".sln", ".md", ".json", ".yml", ".yaml", ".proto", ".sh", ".html", ""];

    public static string Root { get; } = FindRoot();

    public static string SolutionText => File.ReadAllText(Path.Combine(Root, SolutionName));

    /// <summary>Source files of products and tests, with paths relative to the root.</summary>
    public static IEnumerable<SourceFile> SourceFiles() =>
        Files("src").Concat(Files("tests"))
            .Where(path => path.EndsWith(".cs", StringComparison.Ordinal))
            .Select(path => new SourceFile(path, File.ReadAllText(Path.Combine(Root, path))));

    public static IEnumerable<ProjectFile> Projects(string folder) =>
        Files(folder)
            .Where(path => path.EndsWith(".csproj", StringComparison.Ordinal))
            .Select(path => ProjectFile.Parse(path, File.ReadAllText(Path.Combine(Root, path))));

    /// <summary>Every text file of the repository: path and content.</summary>
    public static IEnumerable<(string Path, string Text)> TextFiles() =>
        Files("")
            .Where(path => TextExtensions.Contains(Path.GetExtension(path)))
            .Select(path => (path, File.ReadAllText(Path.Combine(Root, path))));

    public static bool Exists(string path) => File.Exists(Path.Combine(Root, path));

    public static string ReadText(string path) => Exists(path) ? File.ReadAllText(Path.Combine(Root, path)) : "";

    private static IEnumerable<string> Files(string folder)
    {
        var pending = new Stack<string>([Path.Combine(Root, folder)]);
        while (pending.TryPop(out var current))
        {
            foreach (var file in Directory.EnumerateFiles(current))
            {
                yield return Path.GetRelativePath(Root, file).Replace('\\', '/');
            }

            foreach (var child in Directory.EnumerateDirectories(current))
            {
                if (!IgnoredFolders.Contains(Path.GetFileName(child)))
                {
                    pending.Push(child);
                }
            }
        }
    }

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, SolutionName)))
        {
            folder = folder.Parent;
        }

        return folder?.FullName
            ?? throw new InvalidOperationException($"no {SolutionName} above {AppContext.BaseDirectory}");
    }
}
