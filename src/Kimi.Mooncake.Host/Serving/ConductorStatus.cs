using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>What a conductor without a gateway or a worker beside it says of itself.</summary>
internal sealed class ConductorStatus(IRouter router)
{
    public WorkerStatus Read()
    {
        var state = router.State();
        return new WorkerStatus
        {
            Ready = true,
            Waiting = state.Waiting,
            Running = 0,
            BlocksTotal = 0,
            BlocksFree = 0,
            BlocksCached = 0,
            BlocksHeld = 0,
            Metrics = router.Metrics(),
        };
    }
}
