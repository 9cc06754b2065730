using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// Asks a router as long as waiting can help: a conductor that restarts, or a cluster that is full while a request that
/// began already wants to go on.
/// </summary>
internal sealed class PatientRouter(ResumptionParts parts)
{
    /// <summary>Waits for workers.</summary>
    /// <param name="query">Makes the question, given the nodes that may have no part in it.</param>
    /// <param name="excluded">These nodes; emptied when nobody else is left: one that failed may be back.</param>
    /// <param name="isRetry">Whether the request has been begun.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<IRouteLease> RouteAsync(
        Func<string[], RouteQuery> query, HashSet<string> excluded, bool isRetry, CancellationToken cancellationToken)
    {
        var start = parts.Time.GetTimestamp();
        while (true)
        {
            ReadmitIfAllFailed(excluded);
            TimeSpan wait;
            try
            {
                return await parts.Router.RouteAsync(query([.. excluded]), cancellationToken).ConfigureAwait(false);
            }
            catch (ConductorUnavailableException) when (HasTime(start))
            {
                wait = TimeSpan.FromMilliseconds(parts.Options.DelayMs);
            }
            catch (NoWorkerException) when (excluded.Count > 0)
            {
                excluded.Clear();
                continue;
            }
            catch (ClusterBusyException busy) when (isRetry && HasTime(start))
            {
                var max = TimeSpan.FromMilliseconds(parts.Options.DelayMaxMs);
                wait = busy.RetryAfter < max ? busy.RetryAfter : max;
            }

            await Task.Delay(wait, parts.Time, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool HasTime(long start) =>
        parts.Time.GetElapsedTime(start).TotalMilliseconds < parts.Options.RouteWaitMs;

    private void ReadmitIfAllFailed(HashSet<string> excluded)
    {
        const NodeRoles Workers = NodeRoles.Prefill | NodeRoles.Decode;
        if (excluded.Count == 0)
        {
            return;
        }

        var usable = parts.Router.State().Nodes.Where(node =>
            node.Health == NodeHealth.Ready && (node.Descriptor.Roles & Workers) != 0).ToArray();
        if (usable.Length > 0 && usable.All(node => excluded.Contains(node.Descriptor.NodeId)))
        {
            excluded.Clear();
        }
    }
}
