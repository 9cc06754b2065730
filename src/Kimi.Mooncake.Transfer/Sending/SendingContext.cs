using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>What all sending parts of an engine are given.</summary>
internal sealed record SendingContext(
    TransferOptions Options, PeerOptions Peer, TransferFault Fault, TransferCounters Counters, ILoggerFactory Loggers,
    ILogger Logger, TimeProvider Time)
{
    /// <summary>Longest time for a receiver's first answer; a busy one may be long in coming.</summary>
    public TimeSpan AnswerTimeMax { get; } = TimeSpan.FromMilliseconds(Options.StallMsMax);
}

/// <summary>This transport cannot be had with this receiver; gRPC has to do.</summary>
internal sealed class TransportUnavailableException(string message, Exception? inner = null)
    : Exception(message, inner);
