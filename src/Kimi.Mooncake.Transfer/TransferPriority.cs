namespace Kimi.Mooncake.Transfer;

/// <summary>
/// What a transfer is for. Of the frames that wait for one receiver, those of the first kind go first.
/// </summary>
public enum TransferPriority
{
    /// <summary>A request waits for the blocks now.</summary>
    ForegroundGet = 0,

    /// <summary>From prefill to decode.</summary>
    HandOver = 1,

    /// <summary>Blocks that will probably be wanted.</summary>
    Prefetch = 2,

    /// <summary>Further copies of blocks.</summary>
    Replication = 3,
}

/// <summary>How frames travel.</summary>
public enum TransferTransport
{
    /// <summary>gRPC streams.</summary>
    Grpc = 0,

    /// <summary>Memory that both processes map.</summary>
    SharedMemory = 1,

    /// <summary>Plain TCP.</summary>
    Tcp = 2,
}
