namespace Kimi.Mooncake.Kernels;

/// <summary>The dimensions of multi-head latent attention in one layer.</summary>
/// <param name="HeadCount">Query heads.</param>
/// <param name="NopeDimension">Values of a head's query and key that are not rotated.</param>
/// <param name="RopeDimension">Values that are rotated; the key's are shared by all heads.</param>
/// <param name="ValueDimension">Values of a head's output.</param>
/// <param name="LatentRank">Values of the cached latent.</param>
/// <param name="Scale">Factor of the scores before softmax.</param>
public sealed record AttentionShape(
    int HeadCount, int NopeDimension, int RopeDimension, int ValueDimension, int LatentRank, float Scale)
{
    /// <summary>Values of one head's query.</summary>
    public int QueryDimension => NopeDimension + RopeDimension;
}

/// <summary>
/// A weight matrix in the form that one kernel set computes with. Owns what it copied; what it did not copy must
/// outlive it.
/// </summary>
public abstract class LinearWeight : IDisposable
{
    /// <summary>Rows of the stored matrix: values of an output row.</summary>
    public abstract int OutputSize { get; }

    /// <summary>Columns of the stored matrix: values of an input row.</summary>
    public abstract int InputSize { get; }

    /// <inheritdoc />
    public abstract void Dispose();
}

/// <summary>The key and value up-projections of one layer in the form that one kernel set computes with.</summary>
public abstract class AttentionWeight : IDisposable
{
    /// <summary>Dimensions.</summary>
    public abstract AttentionShape Shape { get; }

    /// <inheritdoc />
    public abstract void Dispose();
}

/// <summary>A row of a decode step: the token at position <c>ContextLength - 1</c>, which sees all up to it.</summary>
/// <param name="TableOffset">Where the row's block table starts in the shared array of tables.</param>
/// <param name="ContextLength">Positions that the row attends to, its own included.</param>
public readonly record struct DecodeRow(int TableOffset, int ContextLength);

/// <summary>
/// The tensor operations of a forward pass. Every implementation keeps this promise: the values of an output row depend
/// on that row's inputs only, bit for bit, whatever other rows are computed with it and however many threads there are.
/// Calls come from one thread at a time; no call allocates managed memory once scratch has grown to the sizes in use.
/// Dimension mismatches throw <see cref="ArgumentException"/>.
/// </summary>
public interface IKernels : IDisposable
{
    /// <summary>Name and instruction set, for people.</summary>
    string Name { get; }

    /// <summary>Threads that a call uses.</summary>
    int ThreadCount { get; }

    /// <summary>
    /// Brings a stored matrix <c>[output][input]</c> into this set's form; its memory must outlive the weight, as it
    /// may not be copied.
    /// </summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="isPrecise">
    /// Whether inputs that the set would round to bfloat16 are to keep twice the digits, for twice the arithmetic.
    /// </param>
    LinearWeight Pack(TensorData weight, bool isPrecise = false);

    /// <summary>
    /// Brings the up-projections of a layer into this set's form; their memory must outlive the weight, as it may not
    /// be copied.
    /// </summary>
    AttentionWeight PackAttention(AttentionProjections projections);

    /// <summary><c>y[m, n] = sum over k of x[m, k] * w[n, k]</c>, k ascending.</summary>
    void MatMul(in MatrixView x, LinearWeight weight, in MatrixView y);

    /// <summary>Products of one input with several weights, each as if it were computed alone.</summary>
    void MatMulMany(in MatrixView x, params ReadOnlySpan<LinearProduct> products);

    /// <summary>Adds to y what a network makes of x: <c>y += (silu(x gate) * (x up)) down</c>.</summary>
    void FeedForward(in MatrixView x, FeedForwardWeight weight, in MatrixView y);

    /// <summary>
    /// Adds to each row of y what the experts that it chose make of the row of x, each times its weight, experts
    /// ascending; then what the shared expert makes of it.
    /// </summary>
    /// <param name="x">Inputs.</param>
    /// <param name="bank">The layer's experts.</param>
    /// <param name="chosen"><c>[row][place]</c>: the experts of each row, all different, in any order.</param>
    /// <param name="weights">Their weights.</param>
    /// <param name="y">Receives the sums; does not overlap x.</param>
    void MixtureOfExperts(
        in MatrixView x,
        ExpertBank bank,
        ReadOnlySpan<int> chosen,
        ReadOnlySpan<float> weights,
        in MatrixView y);

    /// <summary><c>y = gain * x / sqrt(mean(x^2) + epsilon)</c> row by row; y may be x.</summary>
    void RmsNorm(in MatrixView x, ReadOnlySpan<float> gain, float epsilon, in MatrixView y);

    /// <summary><c>gate = silu(gate) * up</c>, where <c>silu(a) = a / (1 + exp(-a))</c>.</summary>
    void SwiGlu(in MatrixView gate, in MatrixView up);

    /// <summary><c>y += x</c>.</summary>
    void Add(in MatrixView x, in MatrixView y);

    /// <summary>
    /// Rotates adjacent pairs in place: pair <c>i</c> of each group by <c>positions[row] * frequencies[i]</c>
    /// (<c>(a, b) -> (a cos - b sin, a sin + b cos)</c>). Angles are formed in double precision.
    /// </summary>
    /// <param name="x">Rows.</param>
    /// <param name="positions">Position of each row.</param>
    /// <param name="frequencies">Radians per position, one for each pair.</param>
    /// <param name="firstColumn">First column of the first group.</param>
    /// <param name="groupStride">Columns from one group to the next.</param>
    /// <param name="groupCount">Groups in a row (heads).</param>
    void Rope(
        in MatrixView x,
        ReadOnlySpan<int> positions,
        ReadOnlySpan<double> frequencies,
        int firstColumn,
        int groupStride,
        int groupCount);

    /// <summary>
    /// Causal attention of consecutive positions of one sequence in the expanded form: keys and values of each head are
    /// made from the cached latents, tile by tile; the score matrix never exists as a whole.
    /// </summary>
    /// <param name="weight">Up-projections of the layer.</param>
    /// <param name="kv">The pool; positions 0 to <c>firstPosition + q.Rows - 1</c> are written.</param>
    /// <param name="layer">Layer of the pool to read.</param>
    /// <param name="blockTable">Pool block of each run of block-size positions.</param>
    /// <param name="firstPosition">Position of the first row of <paramref name="q"/>.</param>
    /// <param name="q">Rotated queries, <c>[rows][head * (nope + rope)]</c>.</param>
    /// <param name="output"><c>[rows][head * value]</c>.</param>
    /// <param name="cancellation">
    /// Once set, the call returns within a tile's time and <paramref name="output"/> is of no use.
    /// </param>
    void PrefillAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation = default);

    /// <summary>
    /// Attention of one row each of several sequences in the absorbed form: queries are moved into the latent space,
    /// the cached latents are read once for all heads, and the result is moved back.
    /// </summary>
    /// <param name="weight">Up-projections of the layer.</param>
    /// <param name="kv">The pool.</param>
    /// <param name="layer">Layer of the pool to read.</param>
    /// <param name="blockTables">Block tables of all rows, one after another.</param>
    /// <param name="rows">One entry for each row of <paramref name="q"/>.</param>
    /// <param name="q">Rotated queries, <c>[rows][head * (nope + rope)]</c>.</param>
    /// <param name="output"><c>[rows][head * value]</c>.</param>
    void DecodeAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTables,
        ReadOnlySpan<DecodeRow> rows,
        in MatrixView q,
        in MatrixView output);
}
