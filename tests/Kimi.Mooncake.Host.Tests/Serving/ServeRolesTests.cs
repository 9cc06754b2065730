using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Host.Tests.Commands;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>Which roles one process may have, and what they need.</summary>
[TestFixture]
internal sealed class ServeRolesTests
{
    private const string Conductor = "http://127.0.0.1:1";

    [TestCase(ServeRoles.All, "")]
    [TestCase(ServeRoles.Gateway, "")]
    [TestCase(ServeRoles.Gateway, Conductor)]
    [TestCase(ServeRoles.Gateway | ServeRoles.Prefill | ServeRoles.Decode, "")]
    [TestCase(ServeRoles.Conductor, "")]
    [TestCase(ServeRoles.Conductor | ServeRoles.Store, "")]
    [TestCase(ServeRoles.Decode, Conductor)]
    public void Check_RolesThatFit_Accepts(ServeRoles roles, string conductor) =>
        Assert.DoesNotThrow(() => new ServeOptions { Role = roles, Conductor = conductor }.Check());

    [TestCase(ServeRoles.All | ServeRoles.Decode, "", "role all stands for a process by itself")]
    [TestCase(ServeRoles.All, Conductor, "role all has everything in its own process")]
    [TestCase(ServeRoles.Conductor | ServeRoles.Gateway, Conductor, "the role conductor is in this process")]
    [TestCase(ServeRoles.Decode, "", "registers with a conductor")]
    [TestCase(ServeRoles.Store, "", "registers with a conductor")]
    public void Check_RolesThatDoNot_SaysWhatIsMissing(ServeRoles roles, string conductor, string message) =>
        Assert.That(
            () => new ServeOptions { Role = roles, Conductor = conductor }.Check(),
            Throws.TypeOf<SettingException>().With.Message.Contains(message));

    [TestCase("http://10.1.2.3:9090/", "http://10.1.2.3:9090")]
    [TestCase("https://[::1]:9090", "https://[::1]:9090")]
    public void Reachable_OneInterface_IsItsAddress(string listening, string expected) =>
        Assert.That(NodeAddress.Reachable(new Uri(listening)), Is.EqualTo(expected));

    [TestCase("http://0.0.0.0:9090")]
    [TestCase("http://[::]:9090")]
    public void Reachable_EveryInterface_IsTheMachinesName(string listening) => Assert.That(
        NodeAddress.Reachable(new Uri(listening)),
        Is.EqualTo($"http://{Environment.MachineName.ToLowerInvariant()}:9090"));

    [Test]
    public async Task Serve_WorkerWithoutConductor_IsAUsageError()
    {
        var run = await CommandRun.OfAsync("serve", "--role", "prefill", "--model", "none.gguf");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(run.Error, Does.Contain("serve.conductor"));
    }
}
