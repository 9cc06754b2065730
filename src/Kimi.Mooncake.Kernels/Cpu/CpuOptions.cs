namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>How <see cref="CpuKernels"/> compute.</summary>
public sealed record CpuOptions
{
    /// <summary>Bytes of unpacked weights where nothing else is said.</summary>
    public const long DefaultPackBytesMax = 256L << 20;

    /// <summary>Threads that a call uses, 1 to 1024; 0 is one for each core.</summary>
    public int ThreadCount { get; init; }

    /// <summary>
    /// Whether each thread stays on a processor of its own: thread i on the i-th that the process may use. The thread
    /// that calls is pinned at its first call, too, until the kernels are disposed of. On Linux only.
    /// </summary>
    public bool PinThreads { get; init; }

    /// <summary>
    /// Bytes that all unpacked weights may take at once, at least 0. Weights in single precision are unpacked as they
    /// come while they fit; one that does not is decoded tile by tile whenever it is multiplied with. The results are
    /// the same bits.
    /// </summary>
    public long PackBytesMax { get; init; } = DefaultPackBytesMax;

    /// <summary>
    /// Bytes that weights may take which are repacked when they come, at least 0: those of which few rows are then
    /// multiplied with in less time. The results are the same bits.
    /// </summary>
    public long RepackBytesMax { get; init; }

    /// <summary>What products and attention are computed in.</summary>
    public CpuArithmetic Arithmetic { get; init; } = CpuArithmetic.Exact;

    /// <summary>The instructions that <see cref="CpuArithmetic.Fast"/> products use.</summary>
    public InstructionPath Path { get; init; } = InstructionPaths.Best;

    /// <summary>
    /// These options for a model of so many bytes: nothing of a model whose files are larger than a budget is unpacked
    /// or repacked, since its first few weights would cost memory and gain next to nothing.
    /// </summary>
    public CpuOptions ForModel(long modelBytes) => this with
    {
        PackBytesMax = modelBytes <= PackBytesMax ? PackBytesMax : 0,
        RepackBytesMax = modelBytes <= RepackBytesMax ? RepackBytesMax : 0,
    };
}
