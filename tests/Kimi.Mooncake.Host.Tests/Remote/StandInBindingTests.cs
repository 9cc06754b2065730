using System.Reflection;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>
/// Everything that gRPC's official server and client name of the two assemblies that a package source may lack is
/// there, so that nothing is missed only when a rare path runs. With the official packages it says the same of them.
/// </summary>
[TestFixture]
internal sealed class StandInBindingTests
{
    // As many as versions 2.85 name; a test that finds none has not looked.
    [TestCase("Grpc.Net.Client", "Grpc.Core.Api", 90)]
    [TestCase("Grpc.Net.Client", "Grpc.Net.Common", 5)]
    [TestCase("Grpc.AspNetCore.Server", "Grpc.Core.Api", 60)]
    [TestCase("Grpc.AspNetCore.Server", "Grpc.Net.Common", 5)]
    public void References_OfTheOfficialAssembly_AreAllDeclared(string official, string api, int least)
    {
        var named = AssemblyBindings.Named(PathOf(official), api);
        var declared = AssemblyBindings.Declared(PathOf(api));

        Assert.That(named, Has.Count.AtLeast(least));
        Assert.That(named.Where(name => !declared.Contains(name)), Is.Empty);
    }

    [TestCase("Grpc.Net.Client")]
    [TestCase("Grpc.AspNetCore.Server")]
    public void Types_OfTheOfficialAssembly_AllLoad(string official)
    {
        // A base class with one more abstract method than the official one fails here.
        Assert.That(Assembly.LoadFrom(PathOf(official)).GetTypes(), Is.Not.Empty);
    }

    private static string PathOf(string assembly) =>
        Path.Combine(TestContext.CurrentContext.TestDirectory, $"{assembly}.dll");
}
