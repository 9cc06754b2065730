namespace Kimi.Mooncake.Conventions.Tests;

[TestFixture]
internal sealed class ProjectRulesTests
{
    [Test]
    public void References_OfAllProjects_GoDownOnly() =>
        Violation.AssertNone(Repository.Projects("src").SelectMany(ProjectRules.References));

    [Test]
    public void Packages_OfAllProjects_StayWithTheirOwner() =>
        Violation.AssertNone(Repository.Projects("src").SelectMany(ProjectRules.Packages));

    [Test]
    public void Unsafe_InAllProjects_OnlyWhereMemoryIsOwned() =>
        Violation.AssertNone(Repository.Projects("src").SelectMany(ProjectRules.Unsafe));

    [Test]
    public void Solution_OfTheRepository_HoldsEveryProject() =>
        Violation.AssertNone(Repository.Projects("src").Concat(Repository.Projects("tests"))
            .SelectMany(project => ProjectRules.Solution(project, Repository.SolutionText)));

    [Test]
    public void Readme_OfAllProjects_Exists() =>
        Violation.AssertNone(Repository.Projects("src")
            .SelectMany(project => ProjectRules.Readme(project, Repository.Exists)));

    [Test]
    public void Map_InSourceReadme_NamesEveryProject() =>
        Violation.AssertNone(Repository.Projects("src")
            .SelectMany(project => ProjectRules.Map(project, Repository.ReadText("src/README.md"))));

    [Test]
    public void FileMap_OfAllProjects_NamesEveryFile()
    {
        var paths = Repository.SourceFiles().Select(file => file.Path).ToArray();
        Violation.AssertNone(Repository.Projects("src").SelectMany(project => ProjectRules.FileMap(
            project, paths, Repository.ReadText(ProjectRules.ReadmeOf(project)))));
    }

    [Test]
    public void Projects_InTheRepository_AreFound() =>
        Assert.That(
            Repository.Projects("src").Select(project => project.Name), Does.Contain("Core").And.Contain("Host"));

    [TestCase("Core", "KvCache")]
    [TestCase("Engine", "Models")]
    [TestCase("Gateway", "Worker")]
    [TestCase("Worker", "Simulation")]
    [TestCase("Unplanned", "Core")]
    public void References_ForbiddenEdge_Fires(string name, string reference) =>
        Assert.That(ProjectRules.References(Sample(name, projects: [reference])), Has.Exactly(1).Items);

    [TestCase("Engine", "KvCache")]
    [TestCase("Host", "Worker")]
    public void References_AllowedEdge_Passes(string name, string reference) =>
        Assert.That(ProjectRules.References(Sample(name, projects: [reference])), Is.Empty);

    [TestCase("Worker", "Microsoft.FASTER.Core")]
    [TestCase("Cluster", "Microsoft.Orleans.Server")]
    [TestCase("Core", "Newtonsoft.Json")]
    [TestCase("Engine", "Microsoft.Extensions.Logging.Abstractions")]
    public void Packages_ForeignPackage_Fires(string name, string package) =>
        Assert.That(ProjectRules.Packages(Sample(name, packages: [package])), Has.Exactly(1).Items);

    [Test]
    public void Unsafe_OutsideItsProjects_Fires() =>
        Assert.That(ProjectRules.Unsafe(Sample("Models", isUnsafe: true)), Has.Exactly(1).Items);

    [Test]
    public void Solution_WithoutTheProject_Fires() =>
        Assert.That(ProjectRules.Solution(Sample("Core"), "\"src\\Other\\Other.csproj\""), Has.Exactly(1).Items);

    [Test]
    public void Readme_Missing_Fires() =>
        Assert.That(ProjectRules.Readme(Sample("Core"), _ => false), Has.Exactly(1).Items);

    [Test]
    public void Map_WithALongerNameOnly_Fires() =>
        Assert.That(ProjectRules.Map(Sample("Kernels"), "| `Kimi.Mooncake.Kernels.Ilgpu` |"), Has.Exactly(1).Items);

    [TestCase("| `BlockPool.cs` |", 1)]
    [TestCase("| `BlockPool`, `Cpu/RowJobs.cs` |", 0)]
    [TestCase("| `Block*.cs` |, `Cpu/` |", 0)]
    [TestCase("the row jobs of the block pool", 2)]
    public void FileMap_Sample_FiresForUnnamedFiles(string readme, int count)
    {
        string[] paths = ["src/Kimi.Mooncake.Core/BlockPool.cs", "src/Kimi.Mooncake.Core/Cpu/RowJobs.cs"];
        Assert.That(ProjectRules.FileMap(Sample("Core"), paths, readme), Has.Exactly(count).Items);
    }

    private static ProjectFile Sample(
        string name, string[]? projects = null, string[]? packages = null, bool isUnsafe = false)
    {
        var references = (projects ?? [])
            .Select(x => $"<ProjectReference Include=\"../Kimi.Mooncake.{x}/Kimi.Mooncake.{x}.csproj\" />");
        var required = (packages ?? []).Select(x => $"<PackageReference Include=\"{x}\" />");
        var flag = isUnsafe ? "<PropertyGroup><AllowUnsafeBlocks>true</AllowUnsafeBlocks></PropertyGroup>" : "";
        var items = string.Concat(references.Concat(required));
        return ProjectFile.Parse(
            $"src/Kimi.Mooncake.{name}/Kimi.Mooncake.{name}.csproj",
            $"<Project>{flag}<ItemGroup>{items}</ItemGroup></Project>");
    }
}
