using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>Bounds of hand-overs: prompts that one worker prefills for another.</summary>
public sealed record HandOverOptions
{
    /// <summary>Longest time that a decode worker waits for a prompt, from its reservation to its last byte.</summary>
    [Setting("Longest time that a decode worker waits for another worker's prefill.",
        Unit = "s", Min = 1, Max = 604_800)]
    public int PrefillSecondsMax { get; init; } = 3600;

    /// <summary>
    /// Longest time until the prefill begins. Two workers that wait for each other's memory are told apart by it.
    /// </summary>
    [Setting("Longest time until another worker's prefill begins.", Unit = "s", Min = 1, Max = 604_800)]
    public int QueueSecondsMax { get; init; } = 120;

    /// <summary>
    /// Whether layers are sent while later ones are being computed. Without, everything is sent after the prefill: only
    /// for measuring what the overlap is worth.
    /// </summary>
    public bool Overlap { get; init; } = true;

    /// <summary>
    /// Told by the engine's thread when the last step of a prompt for another worker has been computed, with the
    /// clock's timestamp; only for measuring.
    /// </summary>
    public Action<long>? PrefillEnded { get; init; }
}
