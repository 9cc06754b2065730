using System.Xml.Linq;

namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>What the rules need to know of a project file. Names lack the prefix <c>Kimi.Mooncake.</c></summary>
internal sealed record ProjectFile(
    string Path,
    string Name,
    IReadOnlyList<string> ProjectReferences,
    IReadOnlyList<string> Packages,
    bool AllowsUnsafe)
{
    public const string Prefix = "Kimi.Mooncake.";

    public static ProjectFile Parse(string path, string xml)
    {
        var root = XDocument.Parse(xml).Root!;
        return new ProjectFile(
            path,
            ShortName(path),
            [.. Includes(root, "ProjectReference").Select(ShortName)],
            [.. Includes(root, "PackageReference")
                .Concat(Includes(root, "PackageDownload"))
                .Concat(Includes(root, "FrameworkReference"))],
            root.Descendants("AllowUnsafeBlocks").Any(element => element.Value.Trim() == "true"));
    }

    private static IEnumerable<string> Includes(XElement root, string item) =>
        root.Descendants(item).Select(element => (string?)element.Attribute("Include")).OfType<string>();

    private static string ShortName(string path)
    {
        var name = System.IO.Path.GetFileNameWithoutExtension(path.Replace('\\', '/'));
        return name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;
    }
}
