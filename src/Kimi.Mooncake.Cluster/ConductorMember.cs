using System.Threading.Channels;
using Kimi.Mooncake.Conductor;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>A registered node's connection, as the conductor sees it: what it is to be told, in order.</summary>
/// <param name="id">The registration.</param>
/// <param name="nodeId">Name of the node.</param>
internal sealed class ConductorMember(MembershipId id, string nodeId)
{
    /// <summary>Messages that wait for a slow reader; one more ends the membership.</summary>
    private const int MessagesMax = 64;

    private readonly Channel<Wire.ConductorMessage> _messages =
        Channel.CreateBounded<Wire.ConductorMessage>(MessagesMax);

    public MembershipId Id { get; } = id;

    public string NodeId { get; } = nodeId;

    public ChannelReader<Wire.ConductorMessage> Messages => _messages.Reader;

    /// <summary>Never waits: a node that does not read what it is told is disconnected.</summary>
    public void Tell(Wire.ConductorMessage message)
    {
        if (!_messages.Writer.TryWrite(message))
        {
            End();
        }
    }

    /// <summary>Closes the connection after what is to be said already.</summary>
    public void End() => _messages.Writer.TryComplete();
}
