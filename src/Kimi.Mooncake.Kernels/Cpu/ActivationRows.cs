using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>Forms in which the inputs of products exist.</summary>
[Flags]
internal enum ActivationForms
{
    /// <summary>Single precision, in place.</summary>
    Single = 1,

    /// <summary>Rounded to bfloat16.</summary>
    Bf16 = 2,

    /// <summary>Bytes with a scale for each 32.</summary>
    Int8 = 4,

    /// <summary>Two rows for each: rounded to bfloat16, and what that leaves, rounded too.</summary>
    Bf16Parts = 8,
}

/// <summary>
/// Rows of inputs in the forms that weights multiply with. A row's forms depend on the row alone. Memory grows to the
/// largest size asked for and is kept.
/// </summary>
/// <remarks>
/// Bytes: for each 32 values <c>scale = max|x| / 127</c> and <c>q = round(x * (127 / max|x|))</c>, halves to even, so
/// that <c>x</c> is about <c>scale * q</c> and <c>|q| &lt;= 127</c>; zeros where the largest is below
/// 2^-120. Bfloat16: halves to even; values below the smallest normal number are zeros, as processors take them. Rows
/// are padded with zeros to 64 bytes in every form.
/// </remarks>
internal sealed unsafe partial class ActivationRows : IDisposable
{
    internal const int BlockValues = 32;
    private const int Lanes = 16;
    private const int LineBytes = 64;
    private const float Int8Max = 127;

    // 2^-120: the reciprocal of anything below might not be finite.
    private const float Int8Least = 7.52316385e-37f;

    private readonly Scratch _bf16 = new();
    private readonly Scratch _bf16Parts = new();
    private readonly Scratch _int8 = new();
    private readonly Scratch _scales = new();
    private readonly Scratch _sums = new();
    private readonly Scratch _halfSums = new();
    private readonly Scratch _scaledSums = new();

    internal int Rows { get; private set; }

    internal int Columns { get; private set; }

    internal ActivationForms Forms { get; private set; }

    /// <summary>The rows as they were given; of gathered rows there are none.</summary>
    internal MatrixView Single { get; private set; }

    /// <summary><c>[row][padded column]</c>.</summary>
    internal ushort* Bf16 { get; private set; }

    /// <summary><c>[row][2][padded column]</c>: the rounded values, then the rest.</summary>
    internal ushort* Bf16Parts { get; private set; }

    /// <summary>Values from one row of either bfloat16 form to the next, a multiple of 32.</summary>
    internal int Bf16Stride { get; private set; }

    /// <summary><c>[row][padded column]</c>.</summary>
    internal sbyte* Int8 { get; private set; }

    /// <summary>Bytes from one row of <see cref="Int8"/> to the next, a multiple of 64.</summary>
    internal int Int8Stride { get; private set; }

    /// <summary>Scale of each block of 32, <c>[row][block]</c>.</summary>
    internal float* Scales { get; private set; }

    /// <summary>Sum of the bytes of each block of 32, its sign changed, <c>[row][block]</c>.</summary>
    internal int* NegatedSums { get; private set; }

    /// <summary>The same for the halves of blocks, <c>[row][block][2]</c>.</summary>
    internal int* NegatedHalfSums { get; private set; }

    /// <summary><see cref="NegatedSums"/> times <see cref="Scales"/>, rounded once, <c>[row][block]</c>.</summary>
    internal float* ScaledSums { get; private set; }

    /// <summary>Blocks from one row of <see cref="Scales"/> and the sums to the next.</summary>
    internal int BlockStride { get; private set; }

    /// <summary>Makes room for the forms of rows that <see cref="EncodeRow"/> fills.</summary>
    internal void Begin(in MatrixView x, ActivationForms forms)
    {
        Single = x;
        Begin(x.Rows, x.Columns, forms);
    }

    /// <summary>Makes room for rows that <see cref="CopyRow"/> fills; they have no <see cref="Single"/> form.</summary>
    internal void Begin(int rows, int columns, ActivationForms forms)
    {
        (Rows, Columns, Forms) = (rows, columns, forms);
        Bf16Stride = Padded(columns, LineBytes / sizeof(ushort));
        if ((forms & ActivationForms.Bf16) != 0)
        {
            Bf16 = (ushort*)_bf16.Take((((long)rows * Bf16Stride) + 1) / 2);
        }

        if ((forms & ActivationForms.Bf16Parts) != 0)
        {
            Bf16Parts = (ushort*)_bf16Parts.Take((long)rows * Bf16Stride);
        }

        if ((forms & ActivationForms.Int8) != 0)
        {
            Int8Stride = Padded(columns, LineBytes);
            BlockStride = Int8Stride / BlockValues;
            Int8 = (sbyte*)_int8.Take((long)rows * Int8Stride / sizeof(float));
            Scales = _scales.Take((long)rows * BlockStride);
            NegatedSums = (int*)_sums.Take((long)rows * BlockStride);
            NegatedHalfSums = (int*)_halfSums.Take(2L * rows * BlockStride);
            ScaledSums = _scaledSums.Take((long)rows * BlockStride);
        }
    }

    /// <summary>Fills the forms of a row from <see cref="Single"/>; different rows may be filled at once.</summary>
    internal void EncodeRow(int row) =>
        EncodeColumns(row, 0, Single.Data + ((long)row * Single.Stride), Columns);

    /// <summary>Fills the rounded forms of some columns of a row; different columns may be filled at once.</summary>
    /// <param name="row">The row.</param>
    /// <param name="first">First column, a multiple of <see cref="BlockValues"/>.</param>
    /// <param name="x">Their values.</param>
    /// <param name="count">Columns, a multiple of <see cref="BlockValues"/> unless the row ends with them.</param>
    internal void EncodeColumns(int row, int first, float* x, int count)
    {
        var isLast = first + count == Columns;
        if ((Forms & ActivationForms.Bf16) != 0)
        {
            EncodeBf16(
                x, count, Bf16 + ((long)row * Bf16Stride) + first, isLast ? Bf16Stride - first : count);
        }

        if ((Forms & ActivationForms.Bf16Parts) != 0)
        {
            EncodeBf16Parts(
                x, count, Bf16Parts + (2L * row * Bf16Stride) + first, Bf16Stride,
                isLast ? Bf16Stride - first : count);
        }

        if ((Forms & ActivationForms.Int8) != 0)
        {
            EncodeInt8(row, first / BlockValues, x, count, isLast);
        }
    }

    /// <summary>Takes a row over from others of the same columns and forms.</summary>
    internal void CopyRow(int row, ActivationRows from, int fromRow)
    {
        if ((Forms & ActivationForms.Bf16) != 0)
        {
            Copy(from.Bf16 + ((long)fromRow * Bf16Stride), Bf16 + ((long)row * Bf16Stride), Bf16Stride);
        }

        if ((Forms & ActivationForms.Bf16Parts) != 0)
        {
            Copy(from.Bf16Parts + (2L * fromRow * Bf16Stride), Bf16Parts + (2L * row * Bf16Stride), 2 * Bf16Stride);
        }

        if ((Forms & ActivationForms.Int8) != 0)
        {
            Copy(from.Int8 + ((long)fromRow * Int8Stride), Int8 + ((long)row * Int8Stride), Int8Stride);
            var (source, target) = ((long)fromRow * BlockStride, (long)row * BlockStride);
            Copy(from.Scales + source, Scales + target, BlockStride);
            Copy(from.NegatedSums + source, NegatedSums + target, BlockStride);
            Copy(from.NegatedHalfSums + (2 * source), NegatedHalfSums + (2 * target), 2 * BlockStride);
            Copy(from.ScaledSums + source, ScaledSums + target, BlockStride);
        }
    }

    public void Dispose()
    {
        _bf16.Dispose();
        _bf16Parts.Dispose();
        _int8.Dispose();
        _scales.Dispose();
        _sums.Dispose();
        _halfSums.Dispose();
        _scaledSums.Dispose();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void EncodeInt8(int row, int firstBlock, float* x, int columns, bool isLast)
    {
        var target = Int8 + ((long)row * Int8Stride) + (firstBlock * BlockValues);
        var first = ((long)row * BlockStride) + firstBlock;
        var block = 0;
        for (; (block + 1) * BlockValues <= columns; block++)
        {
            EncodeBlock(x + (block * BlockValues), target + (block * BlockValues), first + block);
        }

        if (block * BlockValues < columns)
        {
            var rest = stackalloc float[BlockValues];
            var count = columns - (block * BlockValues);
            new Span<float>(rest, BlockValues).Clear();
            new ReadOnlySpan<float>(x + (block * BlockValues), count).CopyTo(new Span<float>(rest, count));
            EncodeBlock(rest, target + (block * BlockValues), first + block);
            block++;
        }

        for (; isLast && block < BlockStride - firstBlock; block++)
        {
            new Span<sbyte>(target + (block * BlockValues), BlockValues).Clear();
            (Scales[first + block], NegatedSums[first + block], ScaledSums[first + block]) = (0, 0, 0);
            (NegatedHalfSums[2 * (first + block)], NegatedHalfSums[(2 * (first + block)) + 1]) = (0, 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void EncodeBlock(float* x, sbyte* target, long block)
    {
        Vector512<float> left = Vector512.Load(x), right = Vector512.Load(x + Lanes);

        // Bits of magnitudes are in the order of magnitudes, with those of no numbers above all.
        var largest = Vector512.Max(Vector512.Abs(left).AsInt32(), Vector512.Abs(right).AsInt32());
        var half = Vector256.Max(largest.GetLower(), largest.GetUpper());
        var quarter = Vector128.Max(half.GetLower(), half.GetUpper());
        quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
        quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2)));
        var max = quarter.AsSingle().ToScalar();
        var factor = Vector512.Create(max >= Int8Least ? Int8Max / max : 0);
        var leftBytes = Vector512.ConvertToInt32Native(Vector512.Round(left * factor));
        var rightBytes = Vector512.ConvertToInt32Native(Vector512.Round(right * factor));
        var scale = max / Int8Max;
        var bytes = Avx512F.IsSupported
            ? Vector256.Create(
                Avx512F.ConvertToVector128SByte(leftBytes), Avx512F.ConvertToVector128SByte(rightBytes))
            : Vector256.Narrow(
                Vector256.Narrow(leftBytes.GetLower(), leftBytes.GetUpper()),
                Vector256.Narrow(rightBytes.GetLower(), rightBytes.GetUpper()));
        bytes.Store(target);
        var (leftSum, rightSum) = NegatedSumsOf(bytes);
        Scales[block] = scale;
        NegatedSums[block] = leftSum + rightSum;
        NegatedHalfSums[2 * block] = leftSum;
        NegatedHalfSums[(2 * block) + 1] = rightSum;
        ScaledSums[block] = scale * (leftSum + rightSum);
    }

    /// <summary>Sums of either half of the bytes, their signs changed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (int Lower, int Upper) NegatedSumsOf(Vector256<sbyte> bytes)
    {
        if (Avx2.IsSupported)
        {
            // Differences to bytes that are no larger are sums, a constant too large.
            var sums = Avx2.SumAbsoluteDifferences(bytes.AsByte() ^ Vector256.Create((byte)0x80), Vector256<byte>.Zero)
                .AsInt64();
            const int Excess = 128 * Lanes;
            return (Excess - (int)(sums[0] + sums[1]), Excess - (int)(sums[2] + sums[3]));
        }

        var (lower, upper) = (Vector256.WidenLower(bytes), Vector256.WidenUpper(bytes));
        return (-Vector256.Sum(lower), -Vector256.Sum(upper));
    }

    private static void Copy<T>(T* from, T* to, int count)
        where T : unmanaged =>
        new ReadOnlySpan<T>(from, count).CopyTo(new Span<T>(to, count));

    private static int Padded(int columns, int multiple) => checked((columns + multiple - 1) / multiple * multiple);
}
