using Grpc.Core;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Calls of peers that may fail: within a time, past the peer's breaker, with the reason of a failure counted.
/// </summary>
internal sealed class PeerCalls(PeerParts parts)
{
    /// <summary>Makes a call.</summary>
    /// <param name="peer">Whom it goes to.</param>
    /// <param name="timeoutMs">Longest time.</param>
    /// <param name="call">The call.</param>
    /// <param name="otherwise">What to answer where the call was not made or failed.</param>
    /// <param name="cancellationToken">Ends it early; the only cause of an exception.</param>
    /// <param name="isSlow">
    /// Says of a call that took too long whether the peer did a part of it: then it is slow, and not gone.
    /// </param>
    public async Task<T> TryAsync<T>(
        Peer peer, int timeoutMs, Func<CancellationToken, Task<T>> call, T otherwise,
        CancellationToken cancellationToken, Func<bool>? isSlow = null)
    {
        if (!peer.Breaker.TryEnter())
        {
            return otherwise;
        }

        peer.Load.Begin();
        using var limit = new CancellationTokenSource(TimeSpan.FromMilliseconds(timeoutMs), parts.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            var answer = await call(either.Token).ConfigureAwait(false);
            Succeed(peer);
            return answer;
        }
        catch (Exception) when (cancellationToken.IsCancellationRequested)
        {
            peer.Breaker.GiveUp();
            cancellationToken.ThrowIfCancellationRequested();
            throw;
        }
        catch (Exception fault) when (fault is RpcException or TransferException or OperationCanceledException
            or ArgumentException or InvalidDataException or InvalidOperationException)
        {
            var reason = ReasonOf(fault, limit.IsCancellationRequested);
            if (reason == PeerFailure.TimedOut && isSlow?.Invoke() == true)
            {
                parts.Traffic.AddFailure(reason);
                Succeed(peer);
            }
            else
            {
                Fail(peer, reason, fault.Message);
            }

            return otherwise;
        }
        finally
        {
            peer.Load.End();
        }
    }

    private static PeerFailure ReasonOf(Exception fault, bool timedOut) => fault switch
    {
        _ when timedOut => PeerFailure.TimedOut,
        RpcException { StatusCode: StatusCode.DeadlineExceeded } => PeerFailure.TimedOut,
        RpcException
        {
            StatusCode: StatusCode.ResourceExhausted or StatusCode.Unimplemented or StatusCode.FailedPrecondition
                or StatusCode.InvalidArgument
        } => PeerFailure.Refused,
        // An address that may not be spoken to, an answer that cannot be, too many transfers here.
        ArgumentException or InvalidDataException or InvalidOperationException => PeerFailure.Refused,
        _ => PeerFailure.Unreachable,
    };

    private void Succeed(Peer peer)
    {
        if (peer.Breaker.Succeed())
        {
            PeerLog.Back(parts.Logger, peer.Address);
        }
    }

    private void Fail(Peer peer, PeerFailure reason, string message)
    {
        parts.Traffic.AddFailure(reason);
        if (reason == PeerFailure.Refused)
        {
            // Whoever refuses does so at once; asking again costs next to nothing.
            Succeed(peer);
        }
        else if (peer.Breaker.Fail())
        {
            PeerLog.LeftAlone(parts.Logger, peer.Address, parts.Options.BreakerPauseMs, message);
        }
    }
}
