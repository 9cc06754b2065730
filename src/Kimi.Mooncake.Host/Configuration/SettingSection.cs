using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Gateway.Contexts;
using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Host.Configuration;

/// <summary>An options record and the name under which its settings are given.</summary>
/// <param name="Name">First part of the settings' names.</param>
/// <param name="OptionsType">A record with a parameterless constructor, which gives the defaults.</param>
internal sealed record SettingSection(string Name, Type OptionsType)
{
    /// <summary>Every section of the product. A new options record is one more line.</summary>
    public static IReadOnlyList<SettingSection> All { get; } =
    [
        new("serve", typeof(ServeOptions)),
        new("model", typeof(ModelOptions)),
        new("worker", typeof(WorkerOptions)),
        new("engine", typeof(EngineOptions)),
        new("store", typeof(KvBlockStoreOptions)),
        new("store_connector", typeof(StoreConnectorOptions)),
        new("transfer", typeof(TransferOptions)),
        new("handover", typeof(HandOverOptions)),
        new("peer_blocks", typeof(PeerBlocksOptions)),
        new("block_serving", typeof(BlockServingOptions)),
        new("fault", typeof(TransferFaultOptions)),
        new("conductor", typeof(ConductorOptions)),
        new("replicas", typeof(ReplicaOptions)),
        new("agent", typeof(NodeAgentOptions)),
        new("retry", typeof(RetryOptions)),
        new("rpc", typeof(RpcOptions)),
        new("peer", typeof(PeerOptions)),
        new("remote", typeof(RemoteWorkerOptions)),
        new("gateway", typeof(GatewayOptions)),
        new("contexts", typeof(ContextCatalogOptions)),
        new("caching", typeof(ContextCachingOptions)),
        new("tenants", typeof(TenantsOptions)),
        new("status", typeof(StatusOptions)),
        new("logging", typeof(LoggingOptions)),
        new("telemetry", typeof(TelemetryOptions)),
    ];

    public object CreateDefault() =>
        Activator.CreateInstance(OptionsType)
        ?? throw new InvalidOperationException($"{OptionsType} has no parameterless constructor");
}
