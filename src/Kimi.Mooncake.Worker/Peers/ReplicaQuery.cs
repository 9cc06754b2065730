using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>The blocks of one placement group that are looked for, and what its replicas answered.</summary>
/// <param name="first">Index of the first block in the prompt.</param>
/// <param name="keys">Keys that are looked for.</param>
/// <param name="replicas">Replicas in the order in which they are to be asked.</param>
internal sealed class GroupQuery(int first, ReadOnlyMemory<BlockKey> keys, Peer[] replicas)
{
    private readonly HashSet<Peer> _lacking = [];
    private int _found = -1;

    public int First { get; } = first;

    public ReadOnlyMemory<BlockKey> Keys { get; } = keys;

    /// <summary>Leading blocks that a replica has.</summary>
    public int Blocks => Math.Max(0, _found);

    /// <summary>The replica that has them; null when none has any.</summary>
    public Peer? Holder { get; private set; }

    public bool IsComplete => _found == Keys.Length;

    /// <summary>Whether no more can become known.</summary>
    public bool IsOver => IsComplete || (Asking == 0 && !HasNext);

    public bool HasNext => Asked < replicas.Length;

    /// <summary>Replicas that were asked.</summary>
    public int Asked { get; private set; }

    /// <summary>Replicas that have not answered yet.</summary>
    public int Asking { get; private set; }

    /// <summary>Who has the blocks, and who may have them, in the order in which to pull from them.</summary>
    public Peer[] Sources => Holder is null
        ? []
        : [Holder, .. replicas.Where(peer => peer != Holder && !_lacking.Contains(peer))];

    /// <summary>Takes the next replica to be asked.</summary>
    public Peer Next()
    {
        Asking++;
        return replicas[Asked++];
    }

    /// <summary>A replica answered; -1: it did not.</summary>
    public void Answer(Peer peer, int blocks)
    {
        Asking--;
        if (blocks == 0)
        {
            _lacking.Add(peer);
        }

        if (blocks > _found)
        {
            _found = blocks;
            Holder = blocks > 0 ? peer : Holder;
        }
    }
}

/// <summary>
/// Asks store nodes what they have of a prompt's groups: of each group one replica, and the next one where that fails,
/// lacks blocks, or has not answered after a while. All together takes at most the time of one call.
/// </summary>
internal sealed class ReplicaQuery(PeerParts parts, PeerCalls calls)
{
    private readonly List<Task<Answer>> _running = [];
    private readonly long _started = parts.Time.GetTimestamp();

    private sealed record Answer(Peer Peer, List<GroupQuery> Groups, int[]? Blocks);

    /// <summary>Asks until everything is known that can be.</summary>
    /// <param name="groups">Groups in the order of the prompt.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task AskAsync(IReadOnlyList<GroupQuery> groups, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task? hedge = null;
        try
        {
            var isHedge = false;
            while (true)
            {
                if (Start(groups, isHedge, ending.Token))
                {
                    hedge = Task.Delay(
                        TimeSpan.FromMilliseconds(parts.Options.HedgeMs), parts.Time, ending.Token);
                }

                if (_running.Count == 0 || IsOver(groups))
                {
                    return;
                }

                var first = await Task.WhenAny([.. _running, .. hedge is null ? Array.Empty<Task>() : [hedge]])
                    .ConfigureAwait(false);
                isHedge = first == hedge;
                hedge = isHedge ? null : hedge;
                if (first is Task<Answer> answered)
                {
                    _running.Remove(answered);
                    Take(await answered.ConfigureAwait(false));
                }

                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            await ending.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(_running).ConfigureAwait(false);
        }
    }

    /// <summary>What comes after a group that ends early is of no use.</summary>
    private static bool IsOver(IReadOnlyList<GroupQuery> groups)
    {
        foreach (var group in groups)
        {
            if (!group.IsOver)
            {
                return false;
            }

            if (!group.IsComplete)
            {
                return true;
            }
        }

        return true;
    }

    /// <summary>Asks the next replicas of groups that nobody is asked for, or of all that are not complete.</summary>
    private bool Start(IReadOnlyList<GroupQuery> groups, bool isHedge, CancellationToken ending)
    {
        var left = parts.Options.MatchTimeoutMs - (int)parts.Time.GetElapsedTime(_started).TotalMilliseconds;
        if (left <= 0)
        {
            return false;
        }

        var byPeer = new Dictionary<Peer, List<GroupQuery>>();
        foreach (var group in groups)
        {
            if (group.IsOver && !group.IsComplete)
            {
                break;
            }

            if (!group.IsComplete && group.HasNext && (group.Asking == 0 || isHedge))
            {
                var peer = group.Next();
                if (!byPeer.TryGetValue(peer, out var asked))
                {
                    byPeer[peer] = asked = [];
                }

                asked.Add(group);
            }
        }

        foreach (var (peer, asked) in byPeer)
        {
            if (isHedge)
            {
                parts.Traffic.AddHedge();
            }

            _running.Add(AskAsync(peer, asked, left, ending));
        }

        return byPeer.Count > 0;
    }

    private void Take(Answer answer)
    {
        for (var i = 0; i < answer.Groups.Count; i++)
        {
            answer.Groups[i].Answer(answer.Peer, answer.Blocks?[i] ?? -1);
        }

        if (answer.Blocks is null && answer.Groups.Exists(static group => group.HasNext))
        {
            parts.Traffic.AddFailover();
        }
    }

    private async Task<Answer> AskAsync(Peer peer, List<GroupQuery> groups, int timeoutMs, CancellationToken ending)
    {
        var asked = parts.Time.GetTimestamp();
        try
        {
            var blocks = await calls.TryAsync(
                peer,
                timeoutMs,
                async limited => (int[]?)await parts.Client.MatchRunsAsync(
                    peer.Address, [.. groups.Select(static group => group.Keys)], limited).ConfigureAwait(false),
                null,
                ending).ConfigureAwait(false);
            if (blocks is not null)
            {
                var taken = parts.Time.GetElapsedTime(asked);
                peer.Load.Answered(taken);
                parts.Traffic.AddAnswer(taken);
            }

            return new Answer(peer, groups, blocks);
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested)
        {
            // Another replica was faster, or the request is over: all that is known is that this took longer.
            peer.Load.Silent(parts.Time.GetElapsedTime(asked));
            return new Answer(peer, groups, null);
        }
    }
}
