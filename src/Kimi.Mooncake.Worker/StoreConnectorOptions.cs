using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>How much a worker moves between its pool and the store at once.</summary>
public sealed record StoreConnectorOptions
{
    /// <summary>Threads that copy blocks from the store into the pool.</summary>
    [Setting("Threads that copy blocks from the store into the pool.", Unit = "threads", Min = 1, Max = 64)]
    public int LoadThreads { get; init; } = 2;

    /// <summary>Threads that copy blocks from the pool into the store.</summary>
    [Setting("Threads that copy blocks from the pool into the store.", Unit = "threads", Min = 1, Max = 64)]
    public int SaveThreads { get; init; } = 1;

    /// <summary>Most loads begun and not yet taken as done; one more is turned down and computed instead.</summary>
    [Setting("Most loads that wait or run at once.", Unit = "transfers", Min = 1, Max = 65_536)]
    public int QueuedLoadsMax { get; init; } = 256;

    /// <summary>Most saves begun and not yet taken as done; one more is turned down and tried again later.</summary>
    [Setting("Most saves that wait or run at once.", Unit = "transfers", Min = 1, Max = 65_536)]
    public int QueuedSavesMax { get; init; } = 256;

    /// <summary>
    /// Most calls that tell the store of blocks used from the pool or to be kept longer; one more is dropped.
    /// </summary>
    [Setting("Most notices for the store, of blocks used from the pool or to be kept longer, that wait at once.",
        Unit = "notices", Min = 1, Max = 65_536)]
    public int QueuedNoticesMax { get; init; } = 1024;
}
