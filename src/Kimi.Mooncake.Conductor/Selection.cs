using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>Outcome of a choice of workers.</summary>
internal enum SelectionResult
{
    /// <summary>Workers were chosen.</summary>
    Selected,

    /// <summary>Those that are there have no room.</summary>
    Full,

    /// <summary>None is there that could ever serve it.</summary>
    NoWorker,
}

/// <summary>Sizes of a prompt under the cluster's KV layout.</summary>
internal readonly record struct Prompt(int Tokens, int BlockTokens, int BytesPerToken, int BlocksTaken)
{
    public static Prompt Of(RouteQuery query, KvLayout layout)
    {
        // Output takes blocks as it grows, and only then: a limit that is rarely reached must not keep others out.
        var tokens = Math.Min(query.PromptTokens + 1L, query.SequenceTokensMax);
        var blocks = (int)((tokens + layout.BlockTokens - 1) / layout.BlockTokens);
        return new Prompt(query.PromptTokens, layout.BlockTokens, layout.BytesPerToken, blocks);
    }

    /// <summary>Tokens that <paramref name="blocks"/> spare; the last one is always computed.</summary>
    public int Cached(int blocks) => (int)Math.Min((long)blocks * BlockTokens, Tokens - 1);

    public double Bytes(int from, int to) => (double)(to - from) * BytesPerToken;
}

/// <summary>Keys in flight, from one to before another, and the node that is worth going to; -1: none.</summary>
internal readonly record struct Flight(int From, int To, int Slot);

/// <summary>A worker that could decode.</summary>
/// <param name="Node">The worker.</param>
/// <param name="Blocks">Blocks that it would take there.</param>
/// <param name="PenaltySeconds">What its load is worth in seconds of waiting.</param>
/// <param name="TransferSeconds">Time to bring it what it lacks of the prompt.</param>
internal readonly record struct DecodeOption(
    ClusterNode Node, int Blocks, double PenaltySeconds, double TransferSeconds)
{
    /// <summary>What makes it a candidate.</summary>
    public double Bound => PenaltySeconds + TransferSeconds;
}

/// <summary>A node that could compute the prompt.</summary>
/// <param name="Node">The node.</param>
/// <param name="ReadySeconds">Time until it can begin: its queue, then pulling.</param>
/// <param name="Seconds">Time to compute.</param>
/// <param name="InterferenceSeconds">What the delay of requests that it decodes is worth.</param>
/// <param name="FromToken">First position that it computes.</param>
/// <param name="PullSeconds">Of <paramref name="ReadySeconds"/>, the time to pull.</param>
/// <param name="Source">Where it may pull from; null when that is not worth it.</param>
/// <param name="SourceBlocks">Leading blocks that the source has.</param>
internal readonly record struct PrefillOption(
    ClusterNode Node,
    double ReadySeconds,
    double Seconds,
    double InterferenceSeconds,
    int FromToken,
    double PullSeconds,
    ClusterNode? Source,
    int SourceBlocks);

/// <summary>The workers of a request.</summary>
/// <param name="Decode">Who decodes.</param>
/// <param name="Prefill">Who prefills.</param>
/// <param name="TtftSeconds">Estimated time to the first token.</param>
internal readonly record struct Selection(DecodeOption Decode, PrefillOption Prefill, double TtftSeconds)
{
    /// <summary>A node does what its role does not say, because none of that role is there.</summary>
    public bool IsDegraded { get; init; }

    /// <summary>First key of the prompt that no node has.</summary>
    public int FlightFrom { get; init; }

    /// <summary>Chosen because blocks that it lacks are being computed there.</summary>
    public bool IsJoined { get; init; }
}
