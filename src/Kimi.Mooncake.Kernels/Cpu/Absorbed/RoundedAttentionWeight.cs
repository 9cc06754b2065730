namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Up-projections that attention in bfloat16 reads where they are stored. In the absorbed form they are multiplied with
/// in single precision: rows of the stored matrices are decoded a few at a time.
/// </summary>
/// <remarks>
/// An element is 16 lanes of fused multiply-adds along the row whose halves are added to halves; where the key
/// projection is <c>[nope][latent]</c>, it is one chain over nope ascending.
/// </remarks>
internal sealed unsafe class RoundedAttentionWeight(AttentionProjections projections)
    : PanelAttentionWeight(projections.Shape)
{
    // Rows that are decoded at once stay in the first cache.
    private const int RunValues = 4096;
    private readonly StoredAttentionWeight _stored = new(projections);

    /// <summary>The stored projections.</summary>
    internal AttentionProjections Projections { get; } = projections;

    internal override long ScratchValues => _stored.ScratchValues;

    /// <summary>Values of working memory that <see cref="Absorb"/> and <see cref="Raise"/> need.</summary>
    internal long AbsorbedScratchValues => Math.Max(
        ScratchValues, RunRows(Padded(Math.Max(Shape.LatentRank, Shape.NopeDimension))) *
            (long)Padded(Math.Max(Shape.LatentRank, Shape.NopeDimension)));

    internal override float* KeyRows(int head, float* scratch) => _stored.KeyRows(head, scratch);

    internal override float* KeyColumns(int head, float* scratch) => _stored.KeyColumns(head, scratch);

    internal override float* ValueColumns(int head, float* scratch) => _stored.ValueColumns(head, scratch);

    /// <summary>Moves queries of a head into the latent space.</summary>
    /// <param name="head">The head.</param>
    /// <param name="queries">Rows of nope values, padded with zeros to a multiple of 16, without gaps.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="target">Rows of latents; those behind the latent's rank may be anything.</param>
    /// <param name="scratch">Working memory.</param>
    internal void Absorb(int head, float* queries, int rows, float* target, float* scratch)
    {
        if (Projections.KeyIsLatentMajor)
        {
            Multiply(Projections.Key(head), queries, rows, target, PaddedLatent, scratch);
            return;
        }

        MicroKernels.Multiply(
            queries, Padded(Shape.NopeDimension), rows, KeyColumns(head, scratch), PaddedLatent, Shape.NopeDimension,
            target, PaddedLatent, PaddedLatent, accumulate: false);
    }

    /// <summary>Makes outputs of a head from latents.</summary>
    /// <param name="head">The head.</param>
    /// <param name="latents">Rows of latents, padded with zeros to a multiple of 16, without gaps.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="output">Rows of values.</param>
    /// <param name="outputStride">Values from one row of the output to the next.</param>
    /// <param name="scratch">Working memory.</param>
    internal void Raise(int head, float* latents, int rows, float* output, long outputStride, float* scratch) =>
        Multiply(Projections.Value(head), latents, rows, output, outputStride, scratch);

    public override void Dispose() => _stored.Dispose();

    private static int RunRows(int columns) => Math.Max(1, RunValues / columns);

    /// <summary><c>y[r][n] = x[r] . stored[n]</c>.</summary>
    private static void Multiply(
        in TensorData stored, float* x, int rows, float* y, long yStride, float* scratch)
    {
        var columns = Padded(stored.Columns);
        var run = RunRows(columns);
        for (var first = 0; first < stored.Rows; first += run)
        {
            var count = (int)Math.Min(run, stored.Rows - first);
            for (var row = 0; row < count; row++)
            {
                var target = scratch + ((long)row * columns);
                stored.Decode(first + row, 0, stored.Columns, target);
                new Span<float>(target + stored.Columns, columns - stored.Columns).Clear();
            }

            ScoreKernels.Score(x, rows, scratch, count, columns, y + first, yStride);
        }
    }
}
