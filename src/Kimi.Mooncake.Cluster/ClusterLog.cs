using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster;

internal static partial class ClusterLog
{
    [LoggerMessage(EventId = 2, EventName = "WorkerAway", Level = LogLevel.Warning,
        Message = "No request can be served: {Reason}")]
    public static partial void WorkerAway(ILogger logger, string reason);

    [LoggerMessage(EventId = 3, EventName = "WatchEnded", Level = LogLevel.Debug,
        Message = "{Watched} is not watched any more")]
    public static partial void WatchEnded(ILogger logger, string watched);

    [LoggerMessage(EventId = 4, EventName = "NodeRegistered", Level = LogLevel.Information,
        Message = "Node {NodeId} ({Roles}) at {Address} is a member")]
    public static partial void NodeRegistered(ILogger logger, string nodeId, NodeRoles roles, string address);

    [LoggerMessage(EventId = 5, EventName = "NodeRefused", Level = LogLevel.Warning,
        Message = "Node {NodeId} at {Address} was refused: {Reason}")]
    public static partial void NodeRefused(ILogger logger, string nodeId, string address, string reason);

    [LoggerMessage(EventId = 6, EventName = "NodeLeft", Level = LogLevel.Information,
        Message = "Node {NodeId} left")]
    public static partial void NodeLeft(ILogger logger, string nodeId);

    [LoggerMessage(EventId = 7, EventName = "MembershipEnded", Level = LogLevel.Warning,
        Message = "The membership of node {NodeId} is over: {Reason}")]
    public static partial void MembershipEnded(ILogger logger, string nodeId, string reason);

    [LoggerMessage(EventId = 8, EventName = "NodeDraining", Level = LogLevel.Information,
        Message = "Node {NodeId} gets no more work")]
    public static partial void NodeDraining(ILogger logger, string nodeId);

    [LoggerMessage(EventId = 9, EventName = "ConductorAway", Level = LogLevel.Warning,
        Message = "The conductor is away: {Reason}")]
    public static partial void ConductorAway(ILogger logger, string reason);

    [LoggerMessage(EventId = 10, EventName = "ConductorReady", Level = LogLevel.Information,
        Message = "Conductor {Address} answers")]
    public static partial void ConductorReady(ILogger logger, string address);

    [LoggerMessage(EventId = 11, EventName = "Joined", Level = LogLevel.Information,
        Message = "Node {NodeId} is a member of the cluster")]
    public static partial void Joined(ILogger logger, string nodeId);

    [LoggerMessage(EventId = 12, EventName = "Refused", Level = LogLevel.Error,
        Message = "The conductor refuses node {NodeId}: {Reason}; it is asked again in {RetryMs} ms")]
    public static partial void Refused(ILogger logger, string nodeId, string reason, int retryMs);

    [LoggerMessage(EventId = 13, EventName = "ConductorLost", Level = LogLevel.Warning,
        Message = "Node {NodeId} has no conductor: {Reason}; it is called until it answers")]
    public static partial void ConductorLost(ILogger logger, string nodeId, string reason);

    [LoggerMessage(EventId = 14, EventName = "Draining", Level = LogLevel.Information,
        Message = "Node {NodeId} takes no new work")]
    public static partial void Draining(ILogger logger, string nodeId);

    [LoggerMessage(EventId = 15, EventName = "Retried", Level = LogLevel.Warning,
        Message = "Request {RequestId} is routed again after {Tokens} tokens: {Reason} at node {NodeId}: {Cause}")]
    public static partial void Retried(
        ILogger logger, string requestId, RetryReason reason, string nodeId, int tokens, string cause);

    [LoggerMessage(EventId = 16, EventName = "ClusterReady", Level = LogLevel.Information,
        Message = "Requests can be served; {Nodes} nodes are registered")]
    public static partial void ClusterReady(ILogger logger, int nodes);

    [LoggerMessage(EventId = 17, EventName = "StatusMissing", Level = LogLevel.Debug,
        Message = "Node {NodeId} does not tell its counters: {Reason}")]
    public static partial void StatusMissing(ILogger logger, string nodeId, string reason);
}
