using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Kimi.Mooncake.Conventions.Tests;

/// <summary>
/// Calls that the house rules forbid, found in the syntax alone. Where a receiver's type matters, it is the type that
/// the same file declares for that name; a receiver of unknown type counts as a task.
/// </summary>
internal static class BannedCalls
{
    private static readonly (string Type, string Member, string Instead)[] Members =
    [
        ("DateTime", "Now", "take a TimeProvider"),
        ("DateTime", "UtcNow", "take a TimeProvider"),
        ("DateTime", "Today", "take a TimeProvider"),
        ("DateTimeOffset", "Now", "take a TimeProvider"),
        ("DateTimeOffset", "UtcNow", "take a TimeProvider"),
        ("Random", "Shared", "take a seeded Random"),
        ("Thread", "Sleep", "wait for the event itself"),
        ("Channel", "CreateUnbounded", "create a bounded channel, with a named limit"),
        ("Assert", "Pass", "let the test end"),
    ];

    public static IEnumerable<Violation> Find(SourceFile file) =>
        file.Root.DescendantNodes().SelectMany(node => node switch
        {
            MemberAccessExpressionSyntax access => Access(file, access),
            ObjectCreationExpressionSyntax creation => Creation(file, creation),
            CatchClauseSyntax { Block.Statements.Count: 0 } clause =>
                [file.At(clause, "empty catch; handle the failure, or let it pass")],
            MethodDeclarationSyntax method when IsAsyncVoid(method.Modifiers, method.ReturnType) =>
                [file.At(method, "async void; return a Task that its owner awaits")],
            LocalFunctionStatementSyntax local when IsAsyncVoid(local.Modifiers, local.ReturnType) =>
                [file.At(local, "async void; return a Task that its owner awaits")],
            _ => Enumerable.Empty<Violation>(),
        });

    private static IEnumerable<Violation> Access(SourceFile file, MemberAccessExpressionSyntax access)
    {
        var type = LastName(access.Expression);
        var member = access.Name.Identifier.Text;
        foreach (var banned in Members.Where(banned => banned.Type == type && banned.Member == member))
        {
            yield return file.At(access, $"{type}.{member}; {banned.Instead}");
        }

        if (type == "Task" && member == "Delay" && file.IsTest)
        {
            yield return file.At(access, "Task.Delay in a test; wait for the event, or drive a fake clock");
        }

        if (type == "Console" && member is "Write" or "WriteLine" && !file.IsIn("Host"))
        {
            yield return file.At(access, "Console output outside the host; return the text, or log it");
        }

        if (BlocksOnTask(file, access, member))
        {
            yield return file.At(access, $".{member} blocks on a task; await it");
        }
    }

    private static bool BlocksOnTask(SourceFile file, MemberAccessExpressionSyntax access, string member)
    {
        var isCall = access.Parent is InvocationExpressionSyntax call && call.Expression == access;
        return member switch
        {
            "GetResult" => isCall && access.Expression is InvocationExpressionSyntax inner
                && LastName(inner.Expression) == "GetAwaiter",
            "Wait" => isCall && MayBeTask(file, access.Expression),
            "Result" => !isCall && !IsAssigned(access) && MayBeTask(file, access.Expression),
            "WaitAll" or "WaitAny" => LastName(access.Expression) == "Task",
            _ => false,
        };
    }

    private static bool MayBeTask(SourceFile file, ExpressionSyntax receiver)
    {
        // A condition variable is for threads, which the kernels have; no task stands behind it.
        if (receiver is ThisExpressionSyntax or BaseExpressionSyntax
            or IdentifierNameSyntax { Identifier.Text: nameof(Monitor) })
        {
            return false;
        }

        var type = receiver is IdentifierNameSyntax name ? DeclaredType(file, name.Identifier.Text) : null;
        return type is null or "var" || type.Contains("Task", StringComparison.Ordinal);
    }

    private static string? DeclaredType(SourceFile file, string name)
    {
        foreach (var node in file.Root.DescendantNodes())
        {
            var type = node switch
            {
                VariableDeclarationSyntax variables when variables.Variables.Any(v => v.Identifier.Text == name) =>
                    variables.Type is IdentifierNameSyntax { Identifier.Text: "var" }
                        ? CreatedType(variables.Variables.First(v => v.Identifier.Text == name))
                        : variables.Type.ToString(),
                ParameterSyntax parameter when parameter.Identifier.Text == name => parameter.Type?.ToString(),
                PropertyDeclarationSyntax property when property.Identifier.Text == name => property.Type.ToString(),
                SingleVariableDesignationSyntax { Parent: DeclarationPatternSyntax pattern } single
                    when single.Identifier.Text == name => pattern.Type.ToString(),
                _ => null,
            };
            if (type is not null)
            {
                return type;
            }
        }

        return null;
    }

    private static string CreatedType(VariableDeclaratorSyntax variable) =>
        variable.Initializer?.Value is ObjectCreationExpressionSyntax creation ? creation.Type.ToString() : "var";

    private static IEnumerable<Violation> Creation(SourceFile file, ObjectCreationExpressionSyntax creation)
    {
        var type = LastName(creation.Type);
        if (type == "Random" && creation.ArgumentList is null or { Arguments.Count: 0 })
        {
            yield return file.At(creation, "Random without a seed; pass one in");
        }

        if (type == "NotImplementedException")
        {
            yield return file.At(creation, "NotImplementedException; write the code, or leave the member out");
        }
    }

    private static bool IsAssigned(MemberAccessExpressionSyntax access) =>
        access.Parent is AssignmentExpressionSyntax assignment && assignment.Left == access;

    private static bool IsAsyncVoid(SyntaxTokenList modifiers, TypeSyntax returned) =>
        modifiers.Any(SyntaxKind.AsyncKeyword) && returned.ToString() == "void";

    private static string LastName(ExpressionSyntax expression) => expression switch
    {
        MemberAccessExpressionSyntax access => access.Name.Identifier.Text,
        QualifiedNameSyntax qualified => qualified.Right.Identifier.Text,
        SimpleNameSyntax name => name.Identifier.Text,
        _ => "",
    };
}
