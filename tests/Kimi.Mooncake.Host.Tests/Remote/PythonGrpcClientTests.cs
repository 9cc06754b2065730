using Kimi.Mooncake.Gateway.Tests;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Transfer;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>
/// The gRPC client for Python against a worker, where a Python has it: Debian's packages python3-grpcio and
/// python3-protobuf. It learns the contracts from the reflection service.
/// </summary>
[TestFixture]
internal sealed class PythonGrpcClientTests
{
    // On the PATH, the one of the system may be hidden by another one that lacks the packages.
    private static readonly string[] Pythons = ["/usr/bin/python3", "python3"];

    [TestCase(false)]
    [TestCase(true)]
    public async Task PythonClient_EveryKindOfMethod_AnswersAndCancels(bool isSecured)
    {
        using var client = new ClientProgram("grpc-python");
        var python = await PythonAsync(client);
        var scripted = new ScriptedGenerator { HangAfterAnswer = true };
        scripted.Answer = request => request.PromptTokens[0] == 0
            ? ScriptedGenerator.Bytes("no end")
            : ScriptedGenerator.Bytes("Hello, world", end: true);
        using var authority = new TemporaryFolder();
        var now = TimeProvider.System.GetUtcNow();
        TestAuthority.Write(authority.Path, [], now.AddHours(-1), TimeSpan.FromDays(1));
        await using var worker = await RunningWorker.StartAsync(
            scripted, new PeerOptions { Tls = isSecured ? authority.File("node") : "" });

        string[] tls = isSecured ? [authority.File("client")] : [];
        var (code, output) = await client.RunAsync(
            python, ["check.py", worker.Address.Authority, "Hello, world", .. tls]);

        Assert.That(code, Is.Zero, output);
        await RunningWorker.UntilAsync(() => scripted.Cancelled == 2);
    }

    private static async Task<string> PythonAsync(ClientProgram client)
    {
        var reasons = new List<string>();
        foreach (var python in Pythons.Where(python => !Path.IsPathRooted(python) || File.Exists(python)))
        {
            var (code, output) = await client.RunAsync(python, "-c", "import grpc, google.protobuf");
            if (code == 0)
            {
                return python;
            }

            reasons.Add($"{python}: {output.Trim().Split('\n')[^1]}");
        }

        Assert.Ignore($"skipped: no Python with grpcio and protobuf: {string.Join("; ", reasons)}");
        return "";
    }
}
