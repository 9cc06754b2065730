using Grpc.Core;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Tests;

[TestFixture]
internal sealed class PrefillServiceTests
{
    private static readonly int[] Prompt = WorkerSession.TokensOf(WorkerSession.Document(200, 1, ""));

    private static IEnumerable<TestCaseData> BadOrders()
    {
        TestCaseData Case(string name, Action<Wire.PrefillRequest> change, StatusCode expected, string says) =>
            new TestCaseData(change, expected, says).SetArgDisplayNames(name);

        yield return Case("NoRequest", order => order.Request = null, StatusCode.InvalidArgument, "request");
        yield return Case(
            "PartOfABlock", order => order.FirstPosition = 5, StatusCode.InvalidArgument, "first_position");
        yield return Case(
            "AfterTheEnd", order => order.FirstPosition = 256, StatusCode.InvalidArgument, "first_position");
        yield return Case(
            "NoDestination", order => order.DestinationAddress = "", StatusCode.InvalidArgument, "destination_address");
        yield return Case(
            "Nonsense", order => order.DestinationAddress = "nonsense", StatusCode.InvalidArgument, "nonsense");
        yield return Case(
            "OtherModel", order => order.Request.ModelFingerprint = "ab", StatusCode.FailedPrecondition, "model");
        yield return Case(
            "OtherLayout", order => order.KvLayout = order.KvLayout.Replace("F32", "BF16", StringComparison.Ordinal),
            StatusCode.FailedPrecondition, "worker.kv_type");
        yield return Case(
            "NoSuchToken", order => order.Request.PromptTokens[3] = 1 << 20, StatusCode.InvalidArgument,
            "token 1048576");
        yield return Case(
            "NobodyThere", order => order.DestinationAddress = "http://127.0.0.1:1", StatusCode.Unavailable,
            "127.0.0.1:1");
        yield return Case("NotReserved", _ => { }, StatusCode.FailedPrecondition, "Stale");
    }

    [TestCaseSource(nameof(BadOrders))]
    public async Task Prefill_OfABadOrder_IsRefusedAndHoldsNothing(
        Action<Wire.PrefillRequest> change, StatusCode expected, string says)
    {
        await using var node = await WorkerNode.StartAsync();
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        var client = new Wire.Prefill.PrefillClient(channels.Get(node.Address));
        var order = new Wire.PrefillRequest
        {
            Request = GenerationMessages.ToMessage(WorkerNode.Request(Prompt), node.Worker.Model.Fingerprint),
            DestinationAddress = node.Address,
            Reservation = 12345,
            Generation = 6,
            KvLayout = node.Worker.Model.KvLayout.Describe(),
        };
        change(order);
        using var call = client.Prefill(order);

        var fault = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(CancellationToken.None))
            {
            }
        });

        Assert.That(fault!.StatusCode, Is.EqualTo(expected), fault.Status.Detail);
        Assert.That(fault.Status.Detail, Does.Contain(says));
        await node.RequireEmptyAsync("the prefill worker");
    }
}
