namespace Kimi.Mooncake.Engine;

/// <summary>Why a request was taken or refused.</summary>
public enum AdmissionReason
{
    /// <summary>It waits or runs; its events follow.</summary>
    Accepted,

    /// <summary>As many sequences wait as may.</summary>
    QueueFull,

    /// <summary>Prompt and output together can never fit the block pool.</summary>
    TooLong,

    /// <summary>The engine finishes what it has and takes nothing new.</summary>
    Draining,
}

/// <summary>The answer to a submitted request.</summary>
/// <param name="Reason">Taken, or why not.</param>
/// <param name="SequenceId">Names the sequence in events and for cancelling; 0 when refused.</param>
/// <param name="Value">When a limit was met, what was asked for: sequences waiting, or tokens in all.</param>
/// <param name="ValueMax">When a limit was met, the limit, in the same unit.</param>
public readonly record struct AdmissionResult(AdmissionReason Reason, long SequenceId, int Value, int ValueMax);
