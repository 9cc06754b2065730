using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;

namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>Rules of size, naming and purity that a source file keeps.</summary>
internal static partial class SourceRules
{
    public const int LineLengthMax = 120;
    public const int FileLinesMax = 500;
    public const int MethodLinesMax = 70;

    private const int TestNameParts = 3;

    private static readonly string[] PureProjects = ["Core", "KvCache", "Engine", "Conductor"];

    private static readonly string[] VagueSuffixes = ["Manager", "Helper", "Helpers", "Utils", "Utilities", "Common"];

    private static readonly string[] ImpureNames =
    [
        "DateTime", "DateTimeOffset", "TimeProvider", "Stopwatch", "ILogger", "Socket", "Task", "ValueTask", "Thread",
        "Console",
    ];

    public static IEnumerable<Violation> LineLength(SourceFile file) =>
        file.Text.Split('\n')
            .Select((line, index) => (Length: line.TrimEnd('\r').Length, Number: index + 1))
            .Where(line => line.Length > LineLengthMax)
            .Select(line => new Violation(
                file.Path, line.Number, $"{line.Length} characters; break the line at {LineLengthMax}"));

    public static IEnumerable<Violation> FileLength(SourceFile file)
    {
        var lines = file.Text.Count(character => character == '\n');
        return lines > FileLinesMax
            ? [new Violation(file.Path, 1, $"{lines} lines; split by the state owned, at most {FileLinesMax}")]
            : [];
    }

    public static IEnumerable<Violation> MethodLength(SourceFile file)
    {
        foreach (var method in file.Root.DescendantNodes().Where(IsMethod))
        {
            // Attributes say something about the method, they are not its length.
            var attributes = method.ChildNodes().OfType<AttributeListSyntax>().LastOrDefault();
            var first = attributes is null ? method.GetFirstToken() : attributes.GetLastToken().GetNextToken();
            var lines = method.SyntaxTree.GetText().Lines;
            var count = LineOf(lines, method.Span.End) - LineOf(lines, first.SpanStart) + 1;
            if (count > MethodLinesMax)
            {
                yield return file.At(method, $"method of {count} lines; split it, at most {MethodLinesMax}");
            }
        }
    }

    public static IEnumerable<Violation> TypeNames(SourceFile file) =>
        from type in file.Root.DescendantNodes().OfType<BaseTypeDeclarationSyntax>()
        where VagueSuffixes.Any(suffix => type.Identifier.Text.EndsWith(suffix, StringComparison.Ordinal))
        select file.At(
            type.Identifier, $"type {type.Identifier.Text}; name the thing that it is, in the domain's words");

    public static IEnumerable<Violation> TestNames(SourceFile file) =>
        from method in file.Root.DescendantNodes().OfType<MethodDeclarationSyntax>()
        where file.IsTest && method.AttributeLists.SelectMany(list => list.Attributes)
            .Any(attribute => attribute.Name.ToString() is "Test" or "TestCase" or "TestCaseSource")
        where method.Identifier.Text.Split('_').Count(part => part.Length > 0) != TestNameParts
        select file.At(method.Identifier, $"test {method.Identifier.Text}; name it Subject_Condition_Result");

    public static IEnumerable<Violation> Comments(SourceFile file) =>
        from trivia in file.Root.DescendantTrivia(descendIntoTrivia: false)
        let text = trivia.ToFullString()
        where trivia.IsKind(SyntaxKind.RegionDirectiveTrivia)
            || (IsComment(trivia) && PostponedWork().IsMatch(text))
        select file.At(trivia, trivia.IsKind(SyntaxKind.RegionDirectiveTrivia)
            ? "region; split the file instead"
            : "postponed work in a comment; do it, or open an issue");

    /// <summary>The layers that the simulator runs on simulated time hold no clock, no I/O and no asynchrony.</summary>
    public static IEnumerable<Violation> Purity(SourceFile file)
    {
        if (!file.IsIn(PureProjects))
        {
            yield break;
        }

        const string Instead = "take time, randomness and results of I/O as arguments";
        foreach (var token in file.Root.DescendantTokens())
        {
            if (token.IsKind(SyntaxKind.AsyncKeyword) || token.IsKind(SyntaxKind.AwaitKeyword))
            {
                yield return file.At(token, $"'{token.Text}' in a pure project; {Instead}");
            }
        }

        foreach (var name in file.Root.DescendantNodes().OfType<SimpleNameSyntax>())
        {
            // A property may be called File; what counts is File as the type whose member is used.
            var isFileAccess = name.Identifier.Text is "File" or "Directory"
                && name.Parent is MemberAccessExpressionSyntax access
                && (access.Expression == name || access.Parent is MemberAccessExpressionSyntax);
            if (isFileAccess || ImpureNames.Contains(name.Identifier.Text))
            {
                yield return file.At(name, $"{name.Identifier.Text} in a pure project; {Instead}");
            }
        }
    }

    private static int LineOf(TextLineCollection lines, int position) => lines.GetLinePosition(position).Line;

    private static bool IsMethod(SyntaxNode node) =>
        node is BaseMethodDeclarationSyntax or LocalFunctionStatementSyntax or AccessorDeclarationSyntax;

    private static bool IsComment(SyntaxTrivia trivia) =>
        trivia.IsKind(SyntaxKind.SingleLineCommentTrivia)
        || trivia.IsKind(SyntaxKind.MultiLineCommentTrivia)
        || trivia.IsKind(SyntaxKind.SingleLineDocumentationCommentTrivia)
        || trivia.IsKind(SyntaxKind.MultiLineDocumentationCommentTrivia);

    [GeneratedRegex(@"\b(TODO|FIXME|HACK|XXX)\b")]
    private static partial Regex PostponedWork();
}
