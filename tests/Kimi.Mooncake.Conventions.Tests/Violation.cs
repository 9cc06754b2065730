namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>One place that breaks a rule, and what to write instead.</summary>
internal sealed record Violation(string File, int Line, string Message)
{
    public override string ToString() => $"{File}:{Line}: {Message}";

    /// <summary>Fails the test with every violation, one on each line.</summary>
    public static void AssertNone(IEnumerable<Violation> violations)
    {
        var found = violations.Select(violation => violation.ToString()).Order(StringComparer.Ordinal).ToList();
        if (found.Count > 0)
        {
            Assert.Fail($"{found.Count} places:\n{string.Join('\n', found)}");
        }
    }
}
