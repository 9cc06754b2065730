using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What a store node says of itself where a worker would generate.</summary>
public sealed class StoreNodeStatus : Wire.Generation.GenerationBase
{
    private readonly StoreNode _node;

    internal StoreNodeStatus(StoreNode node) => _node = node;

    /// <inheritdoc />
    public override Task<Wire.DescribeResponse> Describe(Wire.DescribeRequest request, ServerCallContext context) =>
        Task.FromResult(ModelMessages.ToMessage(_node.Model));

    /// <inheritdoc />
    public override Task<Wire.GetStatusResponse> GetStatus(Wire.GetStatusRequest request, ServerCallContext context) =>
        Task.FromResult(WorkerMessages.ToMessage(_node.Status()));
}
