using FsCheck;
using FsCheck.Fluent;
using NUnit.Framework.Internal;

namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>
/// Something that holds for every script of bytes. FsCheck makes the scripts, and prints the seed and the shortest one
/// for which it does not hold.
/// </summary>
internal static class ScriptProperty
{
    public static void Holds(int scripts, int bytesMax, Action<byte[]> property) =>
        Check.One(
            Config.QuickThrowOnFailure.WithMaxTest(scripts).WithEndSize(bytesMax),
            Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), script =>
            {
                // Failures on the way to the shortest script are not failures of the test by themselves.
                using var isolated = new TestExecutionContext.IsolatedContext();
                property(script);
            }));
}
