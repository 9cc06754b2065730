using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Bounds of the transfer of KV between processes.</summary>
public sealed record TransferOptions
{
    /// <summary>Uses shared memory towards processes of the same machine; otherwise gRPC alone.</summary>
    [Setting("Moves KV through shared memory towards processes of the same machine; otherwise through gRPC alone.")]
    public bool SharedMemory { get; init; } = true;

    /// <summary>
    /// Ring of shared memory of each sender, in the sender's memory; holds what the receiver has not taken.
    /// </summary>
    [Setting("Shared memory of each pair of sender and receiver on one machine.",
        Unit = "bytes", Min = 128 << 10, Max = 1 << 30)]
    public int SharedMemoryBytes { get; init; } = 8 << 20;

    /// <summary>IP address on which frames are also taken over plain TCP. Empty is off.</summary>
    [Setting("IP address on which KV is also taken over plain TCP, where both sides have one set. Empty: off.")]
    public string TcpAddress { get; init; } = "";

    /// <summary>Largest payload of one frame; longer regions travel as several.</summary>
    [Setting("Largest payload of one frame.", Unit = "bytes", Min = 16 << 10, Max = 16 << 20)]
    public int FrameBytes { get; init; } = 1 << 20;

    /// <summary>HTTP/2 connections to one receiver.</summary>
    [Setting("HTTP/2 connections for KV to one other process.", Min = 1, Max = 16)]
    public int ConnectionsPerPeer { get; init; } = 2;

    /// <summary>What a receiver lets a sender have on its way, on one connection.</summary>
    [Setting("Bytes that a sender may have unacknowledged on one connection.",
        Unit = "bytes", Min = 64 << 10, Max = 1 << 30)]
    public int CreditBytes { get; init; } = 8 << 20;

    /// <summary>Frames without an answer on one connection.</summary>
    [Setting("Frames that a sender may have unacknowledged on one connection.", Min = 1, Max = 65_536)]
    public int FramesInFlightMax { get; init; } = 1024;

    /// <summary>Open connections of senders, of all transports together.</summary>
    [Setting("Connections on which frames are received at a time; more are refused.", Min = 1, Max = 65_536)]
    public int ReceivingConnectionsMax { get; init; } = 256;

    /// <summary>Receivers that this process is connected to.</summary>
    [Setting("Other processes that KV is sent to at a time.", Min = 1, Max = 65_536)]
    public int PeersMax { get; init; } = 256;

    /// <summary>Regions that may be enqueued on one session.</summary>
    [Setting("Pieces of memory that one transfer may send.", Min = 1, Max = 1 << 24)]
    public int FramesMax { get; init; } = 1 << 20;

    /// <summary>Longest time without an acknowledgement while frames are waiting; then their sessions fail.</summary>
    [Setting("Longest time without progress of a transfer; then it fails.", Unit = "ms", Min = 100, Max = 3_600_000)]
    public int StallMsMax { get; init; } = 10_000;

    /// <summary>Longest pause before a lost connection is tried again.</summary>
    [Setting("Longest pause before a lost connection is tried again.", Unit = "ms", Min = 1, Max = 60_000)]
    public int ReconnectDelayMsMax { get; init; } = 500;

    /// <summary>How often a frame whose checksum was wrong on arrival is sent again.</summary>
    [Setting("How often a frame that arrived damaged is sent again; then its transfer fails.", Min = 0, Max = 1000)]
    public int CorruptRetriesMax { get; init; } = 8;
}
