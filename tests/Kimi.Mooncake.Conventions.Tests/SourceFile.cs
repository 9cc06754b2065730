using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>One C# file: its path from the root, its text and its syntax.</summary>
internal sealed class SourceFile(string path, string text)
{
    private static readonly CSharpParseOptions Options = new(LanguageVersion.Preview);

    public string Path { get; } = path;

    public string Text { get; } = text;

    public SyntaxNode Root { get; } = CSharpSyntaxTree.ParseText(text, Options).GetRoot();

    public bool IsTest { get; } = path.StartsWith("tests/", StringComparison.Ordinal);

    /// <summary>Whether the file belongs to one of the projects of <c>src</c> with these short names.</summary>
    public bool IsIn(params string[] projects) =>
        projects.Any(name => Path.StartsWith($"src/{ProjectFile.Prefix}{name}/", StringComparison.Ordinal));

    public Violation At(SyntaxNodeOrToken place, string message) => At(place.SpanStart, message);

    public Violation At(SyntaxTrivia place, string message) => At(place.SpanStart, message);

    private Violation At(int position, string message) =>
        new(Path, Root.SyntaxTree.GetText().Lines.GetLinePosition(position).Line + 1, message);
}
