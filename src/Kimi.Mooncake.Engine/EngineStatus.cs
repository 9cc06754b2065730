namespace Kimi.Mooncake.Engine;

/// <summary>What a step leaves to do.</summary>
public enum StepOutcome
{
    /// <summary>Something was computed; step again at once.</summary>
    Worked,

    /// <summary>
    /// Nothing can be computed until a transfer ends or the connector takes more blocks. Step again then, and after a
    /// while in any case.
    /// </summary>
    WaitsForTransfers,

    /// <summary>Nothing to do until a request is submitted; no block is held, but by peers that read.</summary>
    Idle,
}

/// <summary>What the engine has done since its start. Every value only grows.</summary>
public record struct EngineCounters
{
    /// <summary>Steps that computed something.</summary>
    public long Steps { get; set; }

    /// <summary>Requests accepted.</summary>
    public long RequestsAccepted { get; set; }

    /// <summary>Requests refused because the queue was full.</summary>
    public long RequestsRefusedQueueFull { get; set; }

    /// <summary>Requests refused because they can never fit the pool.</summary>
    public long RequestsRefusedTooLong { get; set; }

    /// <summary>Requests refused because the engine drains.</summary>
    public long RequestsRefusedDraining { get; set; }

    /// <summary>Requests that ended with a stop token.</summary>
    public long FinishedStop { get; set; }

    /// <summary>Requests that ended at their token limit.</summary>
    public long FinishedLength { get; set; }

    /// <summary>Requests that were cancelled.</summary>
    public long FinishedCancelled { get; set; }

    /// <summary>Requests that failed.</summary>
    public long FinishedFailed { get; set; }

    /// <summary>Prompts that were computed for another worker.</summary>
    public long PrefillsExported { get; set; }

    /// <summary>Prompts that another worker computed.</summary>
    public long PrefillsImported { get; set; }

    /// <summary>Time from the reservation of blocks until their prompt was there, over all imported prompts.</summary>
    public TimeSpan ImportTime { get; set; }

    /// <summary>Prompt tokens whose KV came from another worker.</summary>
    public long ImportedTokens { get; set; }

    /// <summary>Prompt tokens of the requests whose prefill finished here.</summary>
    public long PromptTokens { get; set; }

    /// <summary>Of those, the tokens whose prefill was skipped.</summary>
    public long CachedTokens { get; set; }

    /// <summary>Prompt tokens computed, with those computed again after a preemption, without settling.</summary>
    public long PrefillTokensComputed { get; set; }

    /// <summary>Tokens drawn.</summary>
    public long GeneratedTokens { get; set; }

    /// <summary>Generated tokens computed once more after a preemption.</summary>
    public long ReplayedTokens { get; set; }

    /// <summary>Generated tokens recomputed as prompt tokens for the next turn.</summary>
    public long SettledTokens { get; set; }

    /// <summary>Finished sequences whose settling was given up.</summary>
    public long SettlingDropped { get; set; }

    /// <summary>Running sequences that lost their blocks to an older one.</summary>
    public long Preemptions { get; set; }

    /// <summary>Of those, the ones whose generated tokens were to be brought back instead of computed again.</summary>
    public long SwapsBegun { get; set; }

    /// <summary>Swaps that did not succeed, so that the tokens were computed again.</summary>
    public long SwapsFailed { get; set; }

    /// <summary>Generated tokens that were brought back.</summary>
    public long SwappedTokens { get; set; }

    /// <summary>Cached blocks evicted.</summary>
    public long BlocksEvicted { get; set; }

    /// <summary>Blocks loaded from the store.</summary>
    public long BlocksLoaded { get; set; }

    /// <summary>Blocks that the store was asked for and did not deliver.</summary>
    public long BlocksLoadMissed { get; set; }

    /// <summary>Blocks saved to the store.</summary>
    public long BlocksSaved { get; set; }

    /// <summary>Blocks that the store was given and did not save.</summary>
    public long BlocksSaveFailed { get; set; }

    /// <summary>Blocks not saved because too many waited, or because they were evicted while they waited.</summary>
    public long BlocksSaveDropped { get; set; }

    /// <summary>Time from submission to the first admission, over all requests that were admitted.</summary>
    public TimeSpan QueueTime { get; set; }

    /// <summary>Requests that were admitted.</summary>
    public long RequestsAdmitted { get; set; }
}

/// <summary>Load and counters at one moment.</summary>
public readonly record struct EngineStatus
{
    /// <summary>Sequences that wait for admission.</summary>
    public int Waiting { get; init; }

    /// <summary>Sequences whose stored blocks are being loaded.</summary>
    public int Loading { get; init; }

    /// <summary>Sequences whose prompt another worker computes, and cancelled ones that it may still write.</summary>
    public int Importing { get; init; }

    /// <summary>Ended sequences whose blocks are held because another worker may be reading them.</summary>
    public int Exporting { get; init; }

    /// <summary>Sequences whose generated tokens are being put aside or brought back.</summary>
    public int Swapping { get; init; }

    /// <summary>Sequences that are prefilled or decoded.</summary>
    public int Running { get; init; }

    /// <summary>Finished sequences whose generated blocks wait to be settled.</summary>
    public int Settling { get; init; }

    /// <summary>Prompt tokens that are still to be computed here, over all sequences, as far as is known.</summary>
    public long QueuedPrefillTokens { get; init; }

    /// <summary>Whether nothing new is taken.</summary>
    public bool Draining { get; init; }

    /// <summary>Blocks that wait to be saved.</summary>
    public int SavesPendingBlocks { get; init; }

    /// <summary>Blocks that are being saved.</summary>
    public int SavingBlocks { get; init; }

    /// <summary>Blocks in the pool.</summary>
    public int BlocksTotal { get; init; }

    /// <summary>Blocks that hold nothing.</summary>
    public int BlocksFree { get; init; }

    /// <summary>Blocks that hold a cached prefix nobody uses.</summary>
    public int BlocksCached { get; init; }

    /// <summary>Blocks that somebody holds.</summary>
    public int BlocksHeld { get; init; }

    /// <summary>What was done since the start.</summary>
    public EngineCounters Counters { get; init; }
}
