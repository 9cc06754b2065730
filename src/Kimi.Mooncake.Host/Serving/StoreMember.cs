using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>A store node as a member of the cluster: it has neither a pool nor sequences.</summary>
internal sealed class StoreMember(StoreNode store) : INode
{
    public ModelCard Model => store.Model;

    public int BlocksTotal => 0;

    public int SequencesMax => 0;

    public KvEventFeed? KvEvents => null;

    public NodeLoad Load()
    {
        var status = store.Status();
        return new NodeLoad { Ready = status.Ready, NotReadyReason = status.NotReadyReason, Draining = !status.Ready };
    }

    public void BeginDrain() => store.BeginDrain();
}
