namespace Kimi.Mooncake.Conventions.Tests;

[TestFixture]
internal sealed class SourceRulesTests
{
    private static readonly Dictionary<string, Func<SourceFile, IEnumerable<Violation>>> Rules = new()
    {
        ["line length"] = SourceRules.LineLength,
        ["file length"] = SourceRules.FileLength,
        ["method length"] = SourceRules.MethodLength,
        ["type names"] = SourceRules.TypeNames,
        ["test names"] = SourceRules.TestNames,
        ["comments"] = SourceRules.Comments,
        ["purity"] = SourceRules.Purity,
        ["banned calls"] = BannedCalls.Find,
    };

    private static IEnumerable<string> RuleNames => Rules.Keys;

    [TestCaseSource(nameof(RuleNames))]
    public void Rule_OnTheRepository_Holds(string rule) =>
        Violation.AssertNone(Repository.SourceFiles().SelectMany(Rules[rule]));

    [Test]
    public void SourceFiles_OfTheRepository_AreFound() =>
        Assert.That(
            Repository.SourceFiles().Select(file => file.Path), Does.Contain("src/Kimi.Mooncake.Host/Program.cs"));

    [Test]
    public void MachineNames_InTheRepository_AreAbsent() =>
        Violation.AssertNone(Repository.TextFiles().SelectMany(file => TextRules.MachineNames(file.Path, file.Text)));

    [TestCase("see /home/" + "someone/code", true)]
    [TestCase("cd /wor" + "k/main", true)]
    [TestCase("C:\\Use" + "rs\\someone", true)]
    [TestCase("https://packages.example.org/nug" + "et/v3/index.json", true)]
    [TestCase("~/.local/share and src/home/page", false)]
    [TestCase("$ROOT/work/folder", false)]
    public void MachineNames_Sample_FiresOnMachinesOnly(string text, bool fires) =>
        Assert.That(TextRules.MachineNames("a.md", text).Any(), Is.EqualTo(fires));

    [Test]
    public void LineLength_OneOver_FiresAndTheLimitPasses()
    {
        Assert.That(SourceRules.LineLength(Product(new string('/', 121))), Has.Exactly(1).Items);
        Assert.That(SourceRules.LineLength(Product(new string('/', 120))), Is.Empty);
    }

    [Test]
    public void FileLength_OneOver_FiresAndTheLimitPasses()
    {
        Assert.That(SourceRules.FileLength(Product(new string('\n', 501))), Has.Exactly(1).Items);
        Assert.That(SourceRules.FileLength(Product(new string('\n', 500))), Is.Empty);
    }

    [Test]
    public void MethodLength_OneOver_FiresAndTheLimitPasses()
    {
        Assert.That(SourceRules.MethodLength(Product(MethodOfLines(71))), Has.Exactly(1).Items);
        Assert.That(SourceRules.MethodLength(Product(MethodOfLines(70))), Is.Empty);
    }

    [TestCase("class BlockManager;")]
    [TestCase("struct StringUtils;")]
    [TestCase("record PathHelper;")]
    public void TypeNames_VagueSuffix_Fires(string code) =>
        Assert.That(SourceRules.TypeNames(Product(code)), Has.Exactly(1).Items);

    [TestCase("class A { [Test] public void Works() { } }", 1)]
    [TestCase("class A { [TestCase(1)] public void Pool_Full(int x) { } }", 1)]
    [TestCase("class A { [Test] public void Pool_Full_Refuses() { } public void Arrange() { } }", 0)]
    public void TestNames_Sample_FiresOffThePattern(string code, int count) =>
        Assert.That(SourceRules.TestNames(new SourceFile("tests/A/A.cs", code)), Has.Exactly(count).Items);

    [TestCase("// TO" + "DO: later")]
    [TestCase("/* FIX" + "ME */")]
    [TestCase("#region x\n#endregion")]
    public void Comments_PostponedOrRegion_Fires(string code) =>
        Assert.That(SourceRules.Comments(Product(code)), Has.Exactly(1).Items);

    [TestCase("class A { async void F() { } }")]
    [TestCase("class A { long F() => System.Diagnostics.Stopwatch.GetTimestamp(); }")]
    [TestCase("class A { string F() => System.IO.File.ReadAllText(\"x\"); }")]
    [TestCase("class A { string F() => File.ReadAllText(\"x\"); }")]
    [TestCase("class A(TimeProvider time);")]
    [TestCase("class A(ILogger<A> log);")]
    public void Purity_InAPureProject_FiresThereOnly(string code)
    {
        Assert.That(SourceRules.Purity(new SourceFile("src/Kimi.Mooncake.Engine/A.cs", code)), Has.Exactly(1).Items);
        Assert.That(SourceRules.Purity(new SourceFile("src/Kimi.Mooncake.Worker/A.cs", code)), Is.Empty);
    }

    [TestCase("var x = LoadAsync().Result;")]
    [TestCase("LoadAsync().Wait();")]
    [TestCase("Task t = LoadAsync(); t.Wait();")]
    [TestCase("Task.WaitAll(a, b);")]
    [TestCase("LoadAsync().GetAwaiter().GetResult();")]
    [TestCase("async void F() { await G(); }")]
    [TestCase("var x = DateTime.Now;")]
    [TestCase("var x = System.DateTime.UtcNow;")]
    [TestCase("var x = DateTimeOffset.UtcNow;")]
    [TestCase("var x = Random.Shared.Next();")]
    [TestCase("var x = new Random();")]
    [TestCase("Thread.Sleep(1);")]
    [TestCase("try { F(); } catch (IOException) { }")]
    [TestCase("var x = Channel.CreateUnbounded<int>();")]
    [TestCase("throw new NotImplementedException();")]
    [TestCase("Assert.Pass();")]
    [TestCase("Console.WriteLine(1);")]
    public void BannedCalls_Sample_Fires(string code) =>
        Assert.That(BannedCalls.Find(Product(code)), Has.Exactly(1).Items);

    [TestCase("var gate = new ManualResetEventSlim(); gate.Wait();")]
    [TestCase("lock (_gate) { Monitor.Wait(_gate); }")]
    [TestCase("SemaphoreSlim slots = new(1); slots.Wait();")]
    [TestCase("var x = new Random(7);")]
    [TestCase("try { F(); } catch (IOException) { return; }")]
    [TestCase("await Task.Delay(1);")]
    public void BannedCalls_AllowedSample_Passes(string code) =>
        Assert.That(BannedCalls.Find(Product(code)), Is.Empty);

    [Test]
    public void BannedCalls_DelayInATest_Fires() =>
        Assert.That(
            BannedCalls.Find(new SourceFile("tests/A/A.cs", "await Task.Delay(1);")), Has.Exactly(1).Items);

    private static string MethodOfLines(int lines)
    {
        var body = string.Concat(Enumerable.Repeat("_ = 1;\n", lines - 3));
        return $"class A\n{{\n[Attribute]\nvoid F()\n{{\n{body}}}\n}}";
    }

    private static SourceFile Product(string code) => new("src/Kimi.Mooncake.Worker/A.cs", code);
}
