namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Makes weights of <see cref="NarrowBf16Format"/> of stored matrices, with all threads, where that is possible, saves
/// enough, and the budget allows it.
/// </summary>
internal sealed unsafe class NarrowBf16Packer : IDisposable
{
    // What saves less than a tenth is not worth the memory.
    private const double SizeMax = 0.9;
    private const int ExponentsBytes = NarrowBf16Format.Groups * NarrowBf16Format.Codes;

    private readonly WorkerTeam _team;
    private readonly Bf16Kernels _kernels;
    private readonly RepackMemory _memory;
    private readonly Scratch _scratch = new();

    /// <param name="team">Who repacks.</param>
    /// <param name="kernels">Products.</param>
    /// <param name="memory">Where weights are put.</param>
    internal NarrowBf16Packer(WorkerTeam team, Bf16Kernels kernels, RepackMemory memory) =>
        (_team, _kernels, _memory) = (team, kernels, memory);

    /// <summary>The weight; null where the matrix is better read where it is stored.</summary>
    internal NarrowBf16Weight? TryPack(in TensorData weight)
    {
        if (!_kernels.HasNarrow || !NarrowBf16Format.Fits(weight))
        {
            return null;
        }

        // Even with no exponent written out it might not fit; then there is no need to count them.
        var panels = PanelWeight.Panels(weight.Rows);
        if (panels * NarrowBf16Format.PanelBytes(weight.Columns, 0) > _memory.LeftBytes)
        {
            return null;
        }

        var starts = new long[panels + 1];
        var written = new long[panels];
        var exponents = new byte[panels * ExponentsBytes];
        Survey(weight, exponents, written);
        for (var panel = 0; panel < panels; panel++)
        {
            starts[panel + 1] = starts[panel] + NarrowBf16Format.PanelBytes(weight.Columns, written[panel]);
        }

        if (starts[panels] > SizeMax * weight.StoredBytes || _memory.TryTake(starts[panels]) is not { } piece)
        {
            return null;
        }

        Encode(weight, exponents, written, starts, piece.Pointer);
        weight.ReleasePages();
        return new NarrowBf16Weight(checked((int)weight.Rows), weight.Columns, piece, starts, _kernels);
    }

    public void Dispose() => _scratch.Dispose();

    private static long Work(in TensorData weight) => 4 * weight.Rows * weight.Columns;

    private void Survey(TensorData weight, byte[] exponents, long[] written) => _team.Run(
        (panel, _) =>
        {
            fixed (byte* found = &exponents[panel * ExponentsBytes])
            {
                written[panel] = NarrowBf16Encoder.Survey(weight, panel, found);
            }
        },
        written.Length, Work(weight));

    private void Encode(TensorData weight, byte[] exponents, long[] written, long[] starts, byte* target)
    {
        var scratch = (byte*)_scratch.Take(_team.MemberCount * (NarrowBf16Encoder.ScratchBytes / sizeof(float)));
        _team.Run(
            (panel, member) =>
            {
                fixed (byte* found = &exponents[panel * ExponentsBytes])
                {
                    NarrowBf16Encoder.Encode(
                        weight, panel, found, written[panel],
                        (uint*)(scratch + (member * NarrowBf16Encoder.ScratchBytes)), target + starts[panel]);
                }
            },
            written.Length, Work(weight));
    }
}
