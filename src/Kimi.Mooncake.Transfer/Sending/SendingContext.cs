using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>What all sending parts of an engine are given.</summary>
internal sealed record SendingContext(
    TransferOptions Options, PeerOptions Peer, TransferFault Fault, TransferCounters Counters, ILoggerFactory Loggers,
    ILogger Logger, TimeProvider Time);

/// <summary>Shared memory with this receiver cannot be had; another transport has to do.</summary>
internal sealed class SharedMemoryUnavailableException(string message, Exception? inner = null)
    : Exception(message, inner);
