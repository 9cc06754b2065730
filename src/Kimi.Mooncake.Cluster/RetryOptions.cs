using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>How often, and how long, a request is tried again after a node failed it.</summary>
public sealed record RetryOptions
{
    /// <summary>Tries of one request without a new token in between; then it ends with the last failure.</summary>
    [Setting("Tries of one request without a new token in between; then it fails.",
        Unit = "tries", Min = 1, Max = 100)]
    public int AttemptsMax { get; init; } = 5;

    /// <summary>Retries of all requests together that may be made at once; each takes one from this budget.</summary>
    [Setting("Retries of all requests together before successes must earn more.",
        Unit = "retries", Min = 0, Max = 1_000_000)]
    public int BudgetRetriesMax { get; init; } = 500;

    /// <summary>What a request that ended well gives back to the budget.</summary>
    [Setting("What a request that ended well gives back to the budget.", Unit = "retries", Min = 0, Max = 10)]
    public double BudgetPerSuccess { get; init; } = 0.2;

    /// <summary>Wait before the second retry in a row; each further one waits twice as long.</summary>
    [Setting("Wait before the second retry in a row; doubles with each.", Unit = "ms", Min = 1, Max = 60_000)]
    public int DelayMs { get; init; } = 20;

    /// <summary>Longest wait between two tries.</summary>
    [Setting("Longest wait between two tries.", Unit = "ms", Min = 1, Max = 600_000)]
    public int DelayMaxMs { get; init; } = 500;

    /// <summary>How long a request waits for a conductor or for a worker when there is none.</summary>
    [Setting("How long a request waits for the conductor, or for a worker, when there is none.",
        Unit = "ms", Min = 0, Max = 600_000)]
    public int RouteWaitMs { get; init; } = 5000;
}
