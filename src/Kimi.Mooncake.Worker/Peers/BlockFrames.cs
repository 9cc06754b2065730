using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>A whole block as frames of a transfer.</summary>
internal static class BlockFrames
{
    // Small enough that a frame of higher priority soon has its turn, large enough that its cost does not show.
    private const int FrameBytes = 1 << 20;

    public static int CountOf(int blockBytes) => (blockBytes + FrameBytes - 1) / FrameBytes;

    /// <summary>Enqueues a block; false when the session has failed, which its flush will tell.</summary>
    public static bool TryEnqueue(TransferSession session, nint block, int blockBytes, int slot)
    {
        for (var offset = 0; offset < blockBytes; offset += FrameBytes)
        {
            if (!session.TryEnqueue(block + offset, Math.Min(FrameBytes, blockBytes - offset), slot, offset))
            {
                return false;
            }
        }

        return true;
    }
}
