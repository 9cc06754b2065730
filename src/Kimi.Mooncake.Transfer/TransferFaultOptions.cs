using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Faults that a sender makes on purpose, for tests of the whole cluster. 0 is never.</summary>
public sealed record TransferFaultOptions
{
    /// <summary>Changes one byte of every N-th frame after its checksum was computed.</summary>
    [Setting("For tests: damages one in so many frames after its checksum was computed; 0 is never.",
        Min = 0, Max = int.MaxValue)]
    public int CorruptFrameOneIn { get; init; }

    /// <summary>Breaks the connection in place of every N-th frame.</summary>
    [Setting("For tests: drops the connection instead of sending one in so many frames; 0 is never.",
        Min = 0, Max = int.MaxValue)]
    public int DropConnectionOneIn { get; init; }
}
