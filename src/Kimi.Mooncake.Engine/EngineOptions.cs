using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>Bounds of one worker's engine.</summary>
public sealed record EngineOptions
{
    /// <summary>Prompt tokens computed in a step over all sequences; one decoded token a sequence is added.</summary>
    [Setting("Prompt tokens computed in one step; longer prompts are cut into chunks of this.",
        Unit = "tokens", Min = 16, Max = 65536)]
    public int PrefillChunkTokens { get; init; } = 2048;

    /// <summary>Sequences that are loaded, prefilled or decoded at once.</summary>
    [Setting("Sequences that are loaded, prefilled or decoded at once.", Unit = "sequences", Min = 1, Max = 4096)]
    public int RunningSequencesMax { get; init; } = 64;

    /// <summary>Sequences that may wait; one more is refused. Preempted sequences wait on top of these.</summary>
    [Setting("Sequences that may wait for admission; one more is refused.", Unit = "sequences", Min = 1, Max = 65536)]
    public int WaitingSequencesMax { get; init; } = 1024;

    /// <summary>
    /// Whether the blocks of generated tokens are computed again as a prompt would be, when nothing else is to do, so
    /// that the next turn of the conversation finds them with exactly the values that it would compute itself.
    /// </summary>
    [Setting("Whether generated tokens are recomputed as prompt tokens when idle, so that the next turn finds them.")]
    public bool SettleGeneratedBlocks { get; init; } = true;

    /// <summary>Finished sequences kept for settling; of more, the oldest is dropped.</summary>
    [Setting("Finished sequences kept until their generated blocks are settled; of more, the oldest is dropped.",
        Unit = "sequences", Min = 1, Max = 4096)]
    public int SettlingSequencesMax { get; init; } = 16;

    /// <summary>
    /// What becomes of the generated tokens of a sequence that loses its blocks to an older one. Its prompt is found in
    /// the prefix tree or the store again, or computed.
    /// </summary>
    [Setting("How generated tokens come back after a preemption: the faster way, computed again, or from the store.")]
    public PreemptionMode Preemption { get; init; } = PreemptionMode.Auto;

    /// <summary>Assumed until a rate has been measured.</summary>
    [Setting("Speed at which blocks are swapped out and in, until it has been measured.",
        Unit = "bytes/s", Min = 1, Max = 1e12)]
    public long SwapBytesPerSecond { get; init; } = 200_000_000;

    /// <summary>Assumed until a rate has been measured.</summary>
    [Setting("Time of one decode step, until it has been measured; decides between the ways of preemption.",
        Unit = "us", Min = 1, Max = 60_000_000)]
    public int DecodeStepMicroseconds { get; init; } = 10_000;

    /// <summary>Full blocks that may wait to be saved; further ones are not saved, and counted.</summary>
    [Setting("Full blocks that may wait to be saved; further ones are not saved and counted as dropped.",
        Unit = "blocks", Min = 1, Max = 1048576)]
    public int SavesPendingBlocksMax { get; init; } = 8192;

    /// <summary>Blocks handed to the connector in one save.</summary>
    [Setting("Blocks handed to the store in one save.", Unit = "blocks", Min = 1, Max = 4096)]
    public int SaveBatchBlocksMax { get; init; } = 32;
}
