using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>Clients of a running cluster: of its gateway, and of the processes that compute.</summary>
internal sealed class ServeTarget : IDisposable
{
    private readonly List<CompletionClient> _workers;

    /// <param name="gateway">Address of the gateway.</param>
    /// <param name="workers">Addresses of the processes that compute; none means the gateway itself.</param>
    public ServeTarget(Uri gateway, IReadOnlyList<Uri> workers)
    {
        Gateway = new CompletionClient(gateway, ApiKey.FromEnvironment());
        _workers = [.. workers.Select(address => new CompletionClient(address))];
        Load = new ClusterLoad(_workers.Count == 0 ? [Gateway] : _workers);
    }

    public CompletionClient Gateway { get; }

    public ClusterLoad Load { get; }

    /// <summary>Counts one more process that computes, from now on.</summary>
    public void Add(Uri worker) => _workers.Add(new CompletionClient(worker));

    public void Dispose()
    {
        Gateway.Dispose();
        foreach (var worker in _workers)
        {
            worker.Dispose();
        }
    }
}
