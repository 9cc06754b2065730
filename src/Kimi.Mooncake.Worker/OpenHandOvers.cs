namespace Kimi.Mooncake.Worker;

/// <summary>
/// The hand-overs of a worker that read or write its memory. It ends them before it frees the memory, whoever else was
/// to do so. Safe for concurrent use.
/// </summary>
internal sealed class OpenHandOvers
{
    private readonly Lock _lock = new();
    private readonly HashSet<IAsyncDisposable> _open = [];
    private bool _closed;

    /// <summary>Takes a hand-over in, unless the worker is stopping; its own end takes it out.</summary>
    public bool TryAdd(IAsyncDisposable handOver)
    {
        lock (_lock)
        {
            return !_closed && _open.Add(handOver);
        }
    }

    public void Remove(IAsyncDisposable handOver)
    {
        lock (_lock)
        {
            _open.Remove(handOver);
        }
    }

    /// <summary>Takes nothing more and ends what is open.</summary>
    public async Task CloseAsync()
    {
        IAsyncDisposable[] open;
        lock (_lock)
        {
            _closed = true;
            open = [.. _open];
        }

        foreach (var handOver in open)
        {
            await handOver.DisposeAsync().ConfigureAwait(false);
        }
    }
}
