using Kimi.Mooncake.Gateway.Tests;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>The gRPC client for Node against a worker, where Node and its packages are there.</summary>
[TestFixture]
internal sealed class NodeGrpcClientTests
{
    [Test]
    public async Task NodeClient_EveryKindOfMethod_AnswersAndCancels()
    {
        using var client = new ClientProgram("grpc-node");
        await client.InstallNodePackagesAsync();
        var scripted = new ScriptedGenerator { HangAfterAnswer = true };
        scripted.Answer = request => request.PromptTokens[0] == 0
            ? ScriptedGenerator.Bytes("no end")
            : ScriptedGenerator.Bytes("Hello, world", end: true);
        await using var worker = await RunningWorker.StartAsync(scripted);

        var (code, output) = await client.RunAsync(
            "node", "check.mjs", worker.Address.Authority, Path.Combine(client.RepositoryRoot, "proto"),
            "Hello, world");

        Assert.That(code, Is.Zero, output);

        // The client is gone before the worker hears of its cancellations.
        await RunningWorker.UntilAsync(() => scripted.Cancelled == 2);
    }
}
