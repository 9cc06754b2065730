using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>How a gateway makes and uses contexts that users create by name.</summary>
public sealed record ContextCachingOptions
{
    /// <summary>How long a context is kept whose creator does not say.</summary>
    [Setting("How long a context is kept whose creator does not say", Unit = "s", Min = 1, Max = 315_360_000)]
    public int TtlSecondsDefault { get; init; } = 3600;

    /// <summary>Longest time to live.</summary>
    [Setting("Longest time to live of a context", Unit = "s", Min = 1, Max = 315_360_000)]
    public int TtlSecondsMax { get; init; } = 30 * 24 * 3600;

    /// <summary>How long the creation of a context waits for its prefill; later it is answered as pending.</summary>
    [Setting("How long the creation of a context waits for its prefill; then it is answered as pending",
        Unit = "ms", Min = 0, Max = 600_000)]
    public int CreateWaitMs { get; init; } = 1000;

    /// <summary>Contexts that this gateway has prefilled at once.</summary>
    [Setting("Contexts that this gateway has prefilled at once", Unit = "contexts", Min = 1, Max = 1024)]
    public int PrefillsMax { get; init; } = 4;

    /// <summary>Contexts that wait for their prefill here; the search for pending ones finds further ones.</summary>
    [Setting("Contexts that wait for their prefill here; further ones stay pending until they are looked for",
        Unit = "contexts", Min = 0, Max = 100_000)]
    public int PrefillsWaitingMax { get; init; } = 256;

    /// <summary>Interval at which contexts are looked for that nobody prefilled.</summary>
    [Setting("Interval at which pending contexts are looked for that nobody prefilled",
        Unit = "s", Min = 1, Max = 3600)]
    public int PendingScanSeconds { get; init; } = 30;
}
