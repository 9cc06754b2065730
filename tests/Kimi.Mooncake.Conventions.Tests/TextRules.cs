using System.Text.RegularExpressions;

namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>The repository names no machine: neither somebody's folders nor the host of a package source.</summary>
internal static partial class TextRules
{
    public static IEnumerable<Violation> MachineNames(string path, string text) =>
        text.Split('\n')
            .Select((line, index) => (Match: MachineName().Match(line), Number: index + 1))
            .Where(line => line.Match.Success)
            .Select(line => new Violation(
                path, line.Number, $"'{line.Match.Value}'; use a path relative to the repository, or a variable"));

    // The alternatives are split so that this file does not match itself.
    [GeneratedRegex(
        @"(?<![\w.$}])/(home|Users|wo[r]k)/[A-Za-z0-9_.-]+|(?<![\w.$}/])/roo[t]/|[A-Z]:\\Users\\" +
        @"|https?://[^\s""'<>]*(nuge[t]|artifactory|nexus|registr[y])[^\s""'<>]*")]
    private static partial Regex MachineName();
}
