namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>
/// The layers as data: which project may reference which, and which project owns which package. An owner's types stay
/// out of its public signatures, so that the package can be exchanged in one place.
/// </summary>
internal static class ProjectRules
{
    // Named exception: the assemblies of gRPC that not every package source carries.
    private const string StandIns = "Grpc.StandIns";

    private static readonly string[] BelowLayer4 =
    [
        "Core", "Protocol", "KvCache", "Kernels", "Tokenization", "Models", "Engine", "Conductor", "Transfer", "Store",
        "Cluster", "Cluster.Orleans", "Kernels.Ilgpu",
    ];

    private static readonly string[] BelowLayer5 = [.. BelowLayer4, "Simulation", "Worker", "Gateway"];

    private static readonly Dictionary<string, string[]> AllowedReferences = new()
    {
        ["Core"] = [],
        ["Grpc.Core.Api"] = [],
        ["Grpc.Net.Common"] = ["Grpc.Core.Api"],
        ["Protocol"] = ["Core", "Grpc.Core.Api"],
        ["KvCache"] = ["Core"],
        ["Kernels"] = ["Core"],
        ["Tokenization"] = ["Core"],
        ["Models"] = ["Core", "Kernels"],
        ["Engine"] = ["Core", "KvCache"],
        ["Conductor"] = ["Core", "KvCache"],
        ["Transfer"] = ["Core", "Protocol", "Grpc.Net.Common"],
        ["Store"] = ["Core", "KvCache", "Protocol", "Transfer"],
        ["Cluster"] = ["Core", "Protocol", "KvCache", "Conductor"],
        ["Cluster.Orleans"] = ["Core", "Cluster", "Conductor"],
        ["Kernels.Ilgpu"] = ["Core", "Kernels", "Models"],
        ["Simulation"] = ["Core", "KvCache", "Engine", "Conductor"],
        ["Worker"] = BelowLayer4,
        ["Gateway"] = ["Core", "Protocol", "Tokenization", "Cluster"],
        ["Host"] = BelowLayer5,
    };

    private static readonly Dictionary<string, string[]> PackageOwners = new()
    {
        ["Google.Protobuf"] = ["Protocol"],
        ["Grpc.Tools"] = ["Protocol"],
        ["Grpc.Core.Api"] = ["Protocol"],
        ["Grpc.Net.Client"] = ["Transfer"],
        ["Grpc.AspNetCore.Server"] = ["Host"],
        ["System.Numerics.Tensors"] = ["Kernels"],
        ["Iced"] = ["Kernels"],
        ["Microsoft.FASTER.Core"] = ["Store"],
        ["Microsoft.Orleans.*"] = ["Cluster.Orleans"],
        ["ILGPU"] = ["Kernels.Ilgpu"],
        ["ILGPU.Algorithms"] = ["Kernels.Ilgpu"],
        ["Microsoft.AspNetCore.App"] = ["Gateway", "Host"],
        ["Spectre.Console"] = ["Host"],
        ["System.CommandLine"] = ["Host"],
        ["OpenTelemetry*"] = ["Host"],
        ["Microsoft.Extensions.Logging.Abstractions"] = ["Transfer", "Store", "Cluster", "Cluster.Orleans", "Worker"],
    };

    private static readonly string[] MayBeUnsafe = ["Kernels", "Transfer", "Store"];

    public static IEnumerable<Violation> References(ProjectFile project)
    {
        if (!AllowedReferences.TryGetValue(project.Name, out var allowed))
        {
            return [At(project, "is no project of the design; add it to the table of layers first")];
        }

        var list = allowed.Length == 0 ? "no project" : string.Join(", ", allowed);
        return project.ProjectReferences
            .Where(reference => !allowed.Contains(reference))
            .Select(reference => At(project, $"{project.Name} may not reference {reference}; it may reference {list}"));
    }

    public static IEnumerable<Violation> Packages(ProjectFile project) =>
        from package in project.Packages
        let owners = OwnersOf(package)
        where !owners.Contains(project.Name)
        select At(project, owners.Length == 0
            ? $"package {package} has no owner; name one in ProjectRules.PackageOwners"
            : $"package {package} belongs to {string.Join(", ", owners)}; put the code that needs it there");

    public static IEnumerable<Violation> Unsafe(ProjectFile project) =>
        project.AllowsUnsafe && !MayBeUnsafe.Contains(project.Name)
            ? [At(project, $"AllowUnsafeBlocks; unsafe code belongs in {string.Join(", ", MayBeUnsafe)}")]
            : [];

    public static IEnumerable<Violation> Solution(ProjectFile project, string solution) =>
        solution.Replace('\\', '/').Contains($"\"{project.Path}\"", StringComparison.Ordinal)
            ? []
            : [At(project, "is not in Kimi.Mooncake.sln; run `dotnet sln add`")];

    public static IEnumerable<Violation> Readme(ProjectFile project, Func<string, bool> exists)
    {
        var readme = ReadmeOf(project);
        return exists(readme) ? [] : [At(project, $"has no {readme}; write what it is, its map and its invariants")];
    }

    /// <summary>Where a project is described; the stand-ins have one description.</summary>
    public static string ReadmeOf(ProjectFile project) => IsStandIn(project)
        ? $"src/{StandIns}/README.md"
        : $"{Path.GetDirectoryName(project.Path)!.Replace('\\', '/')}/README.md";

    public static IEnumerable<Violation> Map(ProjectFile project, string map)
    {
        var name = IsStandIn(project) ? StandIns : ProjectFile.Prefix + project.Name;
        return map.Split([' ', '`', '|', '/', '(', ')', '[', ']', ',', '\n'])
            .Contains(name)
            ? []
            : [At(project, $"{name} is not in src/README.md; add it to the map of projects")];
    }

    /// <summary>The README's map names each source file, with or without ending, or the folder it lies in.</summary>
    public static IEnumerable<Violation> FileMap(ProjectFile project, IEnumerable<string> paths, string readme)
    {
        var folder = $"{Path.GetDirectoryName(project.Path)!.Replace('\\', '/')}/";
        var named = readme.Split(['`', ' ', ',', '|', '\n']).ToHashSet();
        return from path in paths
               where path.StartsWith(folder, StringComparison.Ordinal)
               let file = path[folder.Length..]
               let name = Path.GetFileName(file)
               let inNamedFolder = file.Contains('/') && named.Contains($"{file.Split('/')[0]}/")
               where !inNamedFolder && !named.Any(word => Names(word, name))
               select new Violation(path, 1, $"is not in {ReadmeOf(project)}; add it to the map of files");
    }

    private static bool Names(string word, string file)
    {
        var last = word[(word.LastIndexOf('/') + 1)..];
        var star = last.IndexOf('*', StringComparison.Ordinal);
        return star > 0
            ? file.StartsWith(last[..star], StringComparison.Ordinal)
            : last == file || last == Path.GetFileNameWithoutExtension(file);
    }

    private static bool IsStandIn(ProjectFile project) =>
        project.Path.StartsWith($"src/{StandIns}/", StringComparison.Ordinal);

    private static string[] OwnersOf(string package)
    {
        foreach (var (pattern, owners) in PackageOwners)
        {
            var matches = pattern.EndsWith('*')
                ? package.StartsWith(pattern[..^1], StringComparison.Ordinal)
                : package == pattern;
            if (matches)
            {
                return owners;
            }
        }

        return [];
    }

    private static Violation At(ProjectFile project, string message) => new(project.Path, 1, message);
}
