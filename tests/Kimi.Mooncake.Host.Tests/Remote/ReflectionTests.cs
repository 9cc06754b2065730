using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>What a server tells of itself.</summary>
[TestFixture]
internal sealed class ReflectionTests
{
    [Test]
    public async Task ListServices_OfAServer_NamesAllOfThem()
    {
        var answers = await AskAsync(new ServerReflectionRequest { ListServices = "", Host = "h" });

        Assert.That(answers[0].ListServicesResponse.Service.Select(service => service.Name), Is.EqualTo(new[]
        {
            "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection", "kimi.mooncake.v1.Generation", "kimi.mooncake.v1.Prefill",
        }));
        Assert.That((answers[0].ValidHost, answers[0].OriginalRequest.Host), Is.EqualTo(("h", "h")));
    }

    [TestCase("kimi.mooncake.v1.Generation")]
    [TestCase("kimi.mooncake.v1.Generation.Generate")]
    [TestCase("kimi.mooncake.v1.Refusal")]
    [TestCase("kimi.mooncake.v1.FinishReason")]
    public async Task FileContainingSymbol_Known_IsTheWholeFile(string symbol)
    {
        var answers = await AskAsync(new ServerReflectionRequest { FileContainingSymbol = symbol });

        var file = FileDescriptorProto.Parser.ParseFrom(
            answers[0].FileDescriptorResponse.FileDescriptorProto.Single());
        Assert.That(file, Is.EqualTo(Wire.GenerationReflection.Descriptor.ToProto()));
    }

    [Test]
    public async Task Files_AskedForOnOneStream_ComeWithTheirImportsOnce()
    {
        var request = new ServerReflectionRequest { FileByFilename = "kimi/mooncake/v1/prefill.proto" };

        var answers = await AskAsync(request, request);

        var files = answers
            .Select(answer => answer.FileDescriptorResponse.FileDescriptorProto.Select(NameOf)).ToArray();
        Assert.That(files[0], Is.EqualTo(new[]
        {
            "kimi/mooncake/v1/prefill.proto", "kimi/mooncake/v1/generation.proto",
        }));
        Assert.That(files[1], Is.EqualTo(new[] { "kimi/mooncake/v1/prefill.proto" }));
    }

    [Test]
    public async Task Requests_ThatCannotBeAnswered_SayWhyAndTheStreamGoesOn()
    {
        var answers = await AskAsync(
            new ServerReflectionRequest { FileByFilename = "no.proto" },
            new ServerReflectionRequest { FileContainingSymbol = "no.Symbol" },
            new ServerReflectionRequest { AllExtensionNumbersOfType = "no.Type" },
            new ServerReflectionRequest { FileContainingExtension = new ExtensionRequest { ContainingType = "no" } },
            new ServerReflectionRequest(),
            new ServerReflectionRequest { AllExtensionNumbersOfType = "kimi.mooncake.v1.Refusal" });

        Assert.That(
            answers.Take(5).Select(answer => (StatusCode)answer.ErrorResponse.ErrorCode),
            Is.EqualTo(new[]
            {
                StatusCode.NotFound, StatusCode.NotFound, StatusCode.NotFound, StatusCode.NotFound,
                StatusCode.InvalidArgument,
            }));
        Assert.That(answers[1].ErrorResponse.ErrorMessage, Does.Contain("'no.Symbol'"));
        Assert.That(answers[5].AllExtensionNumbersResponse.ExtensionNumber, Is.Empty);
    }

    private static string NameOf(ByteString file) => FileDescriptorProto.Parser.ParseFrom(file).Name;

    private static async Task<List<ServerReflectionResponse>> AskAsync(params ServerReflectionRequest[] requests)
    {
        await using var server = await RpcServer.StartAsync(
            new RpcOptions { Port = 0, ShutdownSeconds = 0 }, new PeerOptions(),
            [
                RpcService.Of(new FlakyGeneration(), Wire.Generation.Descriptor),
                RpcService.Of(new EmptyPrefill(), Wire.Prefill.Descriptor),
            ],
            () => true, NullLoggerFactory.Instance, TimeProvider.System, CancellationToken.None);
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        var client = new ServerReflection.ServerReflectionClient(channels.Get(server.Address.AbsoluteUri));
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var call = client.ServerReflectionInfo(cancellationToken: limit.Token);
        var answers = new List<ServerReflectionResponse>();
        foreach (var request in requests)
        {
            await call.RequestStream.WriteAsync(request, limit.Token);
            Assert.That(await call.ResponseStream.MoveNext(limit.Token), Is.True);
            answers.Add(call.ResponseStream.Current);
        }

        await call.RequestStream.CompleteAsync();
        Assert.That(await call.ResponseStream.MoveNext(limit.Token), Is.False);
        return answers;
    }

    private sealed class EmptyPrefill : Wire.Prefill.PrefillBase;
}
