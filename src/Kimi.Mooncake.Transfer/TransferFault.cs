namespace Kimi.Mooncake.Transfer;

/// <summary>Says when a fault is due.</summary>
internal sealed class TransferFault(TransferFaultOptions options)
{
    private int _frames;
    private int _sends;

    public bool IsOn => options.CorruptFrameOneIn > 0 || options.DropConnectionOneIn > 0;

    public bool CorruptsNextFrame() => IsDue(options.CorruptFrameOneIn, ref _frames);

    public bool DropsConnectionNow() => IsDue(options.DropConnectionOneIn, ref _sends);

    private static bool IsDue(int oneIn, ref int count) =>
        oneIn > 0 && (uint)Interlocked.Increment(ref count) % (uint)oneIn == 0;
}
