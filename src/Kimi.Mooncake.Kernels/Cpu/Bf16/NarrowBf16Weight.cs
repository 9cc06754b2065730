namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// A bfloat16 matrix in memory of its own, in <see cref="NarrowBf16Format"/>: a third less to read for the same bits.
/// Few rows are multiplied in registers; for many, runs of k become panels of pairs first.
/// </summary>
internal sealed unsafe class NarrowBf16Weight : Bf16PanelWeight
{
    // Bytes that are on their way while others are worked on: memory's time to answer, several times over.
    private const int AheadBytesMin = 8 << 10;
    private const int RunBlocks = RunValues / NarrowBf16Format.BlockInputs;

    private readonly Bf16Kernels _kernels;
    private readonly RepackMemory.Piece _memory;
    private readonly long[] _starts;

    // Kept here, as weights are many: each of those that lie between would come from memory, too.
    private readonly byte* _panels;

    /// <param name="outputs">Outputs of the matrix.</param>
    /// <param name="inputs">Inputs of the matrix.</param>
    /// <param name="memory">The panels, one after another; given back with the weight.</param>
    /// <param name="starts">Where each panel begins, and where the last one ends.</param>
    /// <param name="kernels">Products.</param>
    internal NarrowBf16Weight(int outputs, int inputs, RepackMemory.Piece memory, long[] starts, Bf16Kernels kernels)
        : base(outputs, inputs)
    {
        (_memory, _starts, _kernels) = (memory, starts, kernels);
        _panels = memory.Pointer;
    }

    internal override byte* PanelStart(int panel) => _panels + _starts[panel];

    internal override byte* Following(int panel) => PanelStart(panel + 1);

    internal override void MultiplyPanel(
        int panel, ushort* left, long stride, int rows, float* y, long ldy, byte* scratch, byte* next)
    {
        if (rows <= FewRows)
        {
            MultiplyFew(panel, left, stride, rows, y, ldy, next);
        }
        else
        {
            MultiplyRuns(panel, left, stride, rows, y, ldy, (uint*)scratch);
        }
    }

    public override void Dispose() => _memory.Dispose();

    /// <summary>Blocks that are as many bytes as what comes before a panel's own, and some more.</summary>
    private static int BlocksAhead(byte* panel, byte* blocks) =>
        (int)((blocks - panel + AheadBytesMin) / NarrowBf16Format.BlockBytes);

    private void MultiplyFew(int panel, ushort* left, long stride, int rows, float* y, long ldy, byte* next)
    {
        var start = PanelStart(panel);
        var blocks = NarrowBf16Format.Blocks(start);
        var count = InputSize / NarrowBf16Format.BlockInputs;
        var last = Math.Min(count, BlocksAhead(start, blocks));
        for (var first = 0; first < rows; first += NarrowBf16Routine.RowsMax)
        {
            var product = new NarrowBf16Product
            {
                Panel = start,
                Blocks = blocks,
                Left = left + (first * stride),
                LeftStrideBytes = stride * sizeof(ushort),
                Rows = Math.Min(NarrowBf16Routine.RowsMax, rows - first),
                Results = y + (first * ldy),
                ResultStrideBytes = ldy * sizeof(float),
                Count = count - last,
                LastCount = last,
                Ahead = start + (last * NarrowBf16Format.BlockBytes),
                Afterwards = next,
            };
            _kernels.MultiplyNarrow(product);
        }
    }

    private void MultiplyRuns(int panel, ushort* left, long stride, int rows, float* y, long ldy, uint* tile)
    {
        var start = PanelStart(panel);
        var blocks = NarrowBf16Format.Blocks(start);
        var run = new NarrowBf16Run
        {
            Panel = start,
            Written = start + NarrowBf16Format.HeaderBytes,
            Blocks = blocks,
            Target = tile,
        };
        for (var k = 0; k < InputSize; k += RunValues)
        {
            run.Count = Math.Min(RunBlocks, (InputSize - k) / NarrowBf16Format.BlockInputs);
            run.Ahead = run.Blocks + (run.Count * NarrowBf16Format.BlockBytes);
            _kernels.MakeRun(ref run);
            run.Blocks = run.Ahead;
            var pairs = (int)run.Count * NarrowBf16Format.BlockInputs / 2;
            _kernels.Multiply(left + k, stride, rows, tile, pairs, y, ldy, accumulate: k > 0);
        }
    }
}
