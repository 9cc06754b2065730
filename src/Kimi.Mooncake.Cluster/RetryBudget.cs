namespace Kimi.Mooncake.Cluster;

/// <summary>
/// What keeps retries from making an overload worse: each takes one from a budget that all requests share, and only
/// requests that end well fill it up again.
/// </summary>
internal sealed class RetryBudget(RetryOptions options)
{
    private readonly Lock _lock = new();
    private double _left = options.BudgetRetriesMax;

    /// <summary>Takes one retry; false when none is left.</summary>
    public bool TryTake()
    {
        lock (_lock)
        {
            if (_left < 1)
            {
                return false;
            }

            _left--;
            return true;
        }
    }

    public void Succeeded()
    {
        lock (_lock)
        {
            _left = Math.Min(options.BudgetRetriesMax, _left + options.BudgetPerSuccess);
        }
    }
}
