namespace Kimi.Mooncake.Kernels;

/// <summary>The checks of dimensions that every kernel set makes before it touches memory.</summary>
internal static class KernelArguments
{
    internal static void CheckSameShape(in MatrixView x, in MatrixView y)
    {
        if (x.Rows != y.Rows || x.Columns != y.Columns)
        {
            throw new ArgumentException(
                $"matrices differ in shape: [{x.Rows}][{x.Columns}] and [{y.Rows}][{y.Columns}]");
        }
    }

    internal static void CheckMatMul(in MatrixView x, LinearWeight weight, in MatrixView y)
    {
        if (x.Rows != y.Rows || x.Columns != weight.InputSize || y.Columns != weight.OutputSize)
        {
            throw new ArgumentException(
                $"cannot multiply x [{x.Rows}][{x.Columns}] by weight [{weight.OutputSize}][{weight.InputSize}] "
                + $"into y [{y.Rows}][{y.Columns}]");
        }
    }

    internal static void CheckFeedForward(in MatrixView x, FeedForwardWeight weight, in MatrixView y)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (x.Rows != y.Rows || x.Columns != weight.InputSize || y.Columns != weight.OutputSize)
        {
            throw new ArgumentException(
                $"cannot add to y [{y.Rows}][{y.Columns}] what a network of {weight.InputSize} values to "
                + $"{weight.OutputSize} makes of x [{x.Rows}][{x.Columns}]");
        }
    }

    internal static void CheckExperts(
        in MatrixView x, ExpertBank bank, ReadOnlySpan<int> chosen, ReadOnlySpan<float> weights, in MatrixView y)
    {
        ArgumentNullException.ThrowIfNull(bank);
        CheckFeedForward(x, bank.Experts[0], y);
        CheckLength(weights.Length, chosen.Length, "weights");
        var perRow = x.Rows == 0 ? 0 : chosen.Length / x.Rows;
        CheckLength(chosen.Length, perRow * x.Rows, "chosen");
        for (var i = 0; i < chosen.Length; i++)
        {
            var row = perRow == 0 ? 0 : i / perRow;
            if ((uint)chosen[i] >= (uint)bank.Experts.Length)
            {
                throw new ArgumentException(
                    $"row {row} chose expert {chosen[i]} of {bank.Experts.Length}", nameof(chosen));
            }

            if (chosen[(row * perRow)..i].Contains(chosen[i]))
            {
                throw new ArgumentException($"row {row} chose expert {chosen[i]} twice", nameof(chosen));
            }
        }
    }

    internal static void CheckRmsNorm(in MatrixView x, ReadOnlySpan<float> gain, in MatrixView y)
    {
        CheckSameShape(x, y);
        CheckLength(gain.Length, x.Columns, "gain");
    }

    internal static void CheckRope(
        in MatrixView x, int positionCount, int pairCount, int firstColumn, int groupStride, int groupCount)
    {
        CheckLength(positionCount, x.Rows, "positions");
        var end = firstColumn + ((long)groupStride * (groupCount - 1)) + (2L * pairCount);
        if (firstColumn < 0 || groupCount < 1 || groupStride < 0 || end > x.Columns)
        {
            throw new ArgumentException(
                $"{groupCount} groups of {pairCount} pairs, {groupStride} apart from column {firstColumn}, "
                + $"do not fit in {x.Columns} columns");
        }
    }

    internal static void CheckShape(AttentionShape shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.HeadCount, 1, nameof(shape));
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.NopeDimension, 1, nameof(shape));
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.RopeDimension, 1, nameof(shape));
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.ValueDimension, 1, nameof(shape));
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.LatentRank, 1, nameof(shape));
        if (!(shape.Scale > 0) || !float.IsFinite(shape.Scale))
        {
            throw new ArgumentOutOfRangeException(nameof(shape), $"scale {shape.Scale} is not a positive number");
        }
    }

    internal static void CheckStored(in TensorData tensor, long rows, int columns, string what)
    {
        if (tensor.Rows != rows || tensor.Columns != columns)
        {
            throw new ArgumentException(
                $"{what} is [{tensor.Rows}][{tensor.Columns}], expected [{rows}][{columns}]");
        }
    }

    internal static void CheckPrefill(
        AttentionShape shape,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output)
    {
        CheckAttention(shape, kv, layer, q, output);
        ArgumentOutOfRangeException.ThrowIfNegative(firstPosition);
        CheckTable(kv, blockTable, 0, (long)firstPosition + q.Rows);
    }

    internal static void CheckDecode(
        AttentionShape shape,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTables,
        ReadOnlySpan<DecodeRow> rows,
        in MatrixView q,
        in MatrixView output)
    {
        CheckAttention(shape, kv, layer, q, output);
        CheckLength(rows.Length, q.Rows, "rows");
        foreach (ref readonly var row in rows)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(row.ContextLength, 1, nameof(rows));
            CheckTable(kv, blockTables, row.TableOffset, row.ContextLength);
        }
    }

    /// <summary>The weight as this set's own type.</summary>
    internal static T Own<T>(object weight)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(weight);
        return weight as T ?? throw new ArgumentException(
            $"the weight is a {weight.GetType().Name}, which another kernel set packed; expected {typeof(T).Name}");
    }

    private static void CheckAttention(
        AttentionShape shape, PagedKvMemory kv, int layer, in MatrixView q, in MatrixView output)
    {
        ArgumentNullException.ThrowIfNull(kv);
        if (kv.Layout.LatentRank != shape.LatentRank || kv.Layout.RopeDimension != shape.RopeDimension)
        {
            throw new ArgumentException(
                $"the pool holds {kv.Layout.Describe()}; the layer has latent={shape.LatentRank}, "
                + $"rope={shape.RopeDimension}");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, kv.Layout.LayerCount);
        if (q.Rows != output.Rows
            || q.Columns != shape.HeadCount * shape.QueryDimension
            || output.Columns != shape.HeadCount * shape.ValueDimension)
        {
            throw new ArgumentException(
                $"q [{q.Rows}][{q.Columns}] and output [{output.Rows}][{output.Columns}] do not fit {shape}");
        }
    }

    private static void CheckTable(PagedKvMemory kv, ReadOnlySpan<int> table, int offset, long positions)
    {
        var blocks = (positions + kv.Layout.BlockTokens - 1) / kv.Layout.BlockTokens;
        if (offset < 0 || blocks > table.Length - offset)
        {
            throw new ArgumentException(
                $"{positions} positions need {blocks} blocks; the table has {table.Length - offset} from {offset}");
        }

        foreach (var block in table.Slice(offset, (int)blocks))
        {
            if ((uint)block >= (uint)kv.BlockCount)
            {
                throw new ArgumentException($"block {block} is not in the pool of {kv.BlockCount} blocks");
            }
        }
    }

    private static void CheckLength(int length, int expected, string what)
    {
        if (length != expected)
        {
            throw new ArgumentException($"{what} has {length} values, expected {expected}");
        }
    }
}
