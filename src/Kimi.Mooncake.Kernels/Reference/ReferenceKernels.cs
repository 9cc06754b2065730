namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>
/// The plain kernels that the fast ones are judged by: one thread, stored weights, every sum in double precision in the
/// order of the formula, rounded to single once at the end.
/// </summary>
public sealed unsafe class ReferenceKernels : IKernels
{
    private readonly ReferenceAttention _attention = new();
    private readonly PlainFeedForward _feedForward;

    /// <summary>Makes the set.</summary>
    public ReferenceKernels() => _feedForward = new PlainFeedForward(this);

    /// <inheritdoc />
    public string Name => "reference (double accumulation, 1 thread)";

    /// <inheritdoc />
    public int ThreadCount => 1;

    /// <inheritdoc />
    public LinearWeight Pack(TensorData weight, bool isPrecise = false) => new RowMajorWeight(weight);

    /// <inheritdoc />
    public AttentionWeight PackAttention(AttentionProjections projections)
    {
        ArgumentNullException.ThrowIfNull(projections);
        return new RowMajorAttentionWeight(projections);
    }

    /// <inheritdoc />
    public void MatMul(in MatrixView x, LinearWeight weight, in MatrixView y)
    {
        var stored = KernelArguments.Own<RowMajorWeight>(weight);
        KernelArguments.CheckMatMul(x, stored, y);
        for (var n = 0; n < y.Columns; n++)
        {
            var wRow = stored.Row(n);
            for (var m = 0; m < x.Rows; m++)
            {
                var xRow = x.Row(m);
                var sum = 0.0;
                for (var k = 0; k < xRow.Length; k++)
                {
                    sum += (double)xRow[k] * wRow[k];
                }

                y.Row(m)[n] = (float)sum;
            }
        }
    }

    /// <inheritdoc />
    public void MatMulMany(in MatrixView x, params ReadOnlySpan<LinearProduct> products)
    {
        foreach (ref readonly var product in products)
        {
            if (!product.IsAdded)
            {
                MatMul(x, product.Weight, product.Y);
                continue;
            }

            var result = _feedForward.Result(product.Y);
            MatMul(x, product.Weight, result);
            Add(result, product.Y);
        }
    }

    /// <inheritdoc />
    public void FeedForward(in MatrixView x, FeedForwardWeight weight, in MatrixView y)
    {
        KernelArguments.CheckFeedForward(x, weight, y);
        if (x.Rows > 0)
        {
            _feedForward.Add(x, weight, y);
        }
    }

    /// <inheritdoc />
    public void MixtureOfExperts(
        in MatrixView x,
        ExpertBank bank,
        ReadOnlySpan<int> chosen,
        ReadOnlySpan<float> weights,
        in MatrixView y)
    {
        KernelArguments.CheckExperts(x, bank, chosen, weights, y);
        if (x.Rows > 0)
        {
            _feedForward.Add(x, bank, chosen, weights, y);
        }
    }

    /// <inheritdoc />
    public void RmsNorm(in MatrixView x, ReadOnlySpan<float> gain, float epsilon, in MatrixView y)
    {
        KernelArguments.CheckRmsNorm(x, gain, y);
        for (var row = 0; row < x.Rows; row++)
        {
            var source = x.Row(row);
            var squares = 0.0;
            foreach (var value in source)
            {
                squares += (double)value * value;
            }

            var factor = 1 / Math.Sqrt((squares / source.Length) + epsilon);
            var target = y.Row(row);
            for (var i = 0; i < source.Length; i++)
            {
                target[i] = (float)(gain[i] * (source[i] * factor));
            }
        }
    }

    /// <inheritdoc />
    public void SwiGlu(in MatrixView gate, in MatrixView up)
    {
        KernelArguments.CheckSameShape(gate, up);
        for (var row = 0; row < gate.Rows; row++)
        {
            var gates = gate.Row(row);
            var ups = up.Row(row);
            for (var i = 0; i < gates.Length; i++)
            {
                gates[i] = (float)(gates[i] / (1 + Math.Exp(-(double)gates[i])) * ups[i]);
            }
        }
    }

    /// <inheritdoc />
    public void Add(in MatrixView x, in MatrixView y)
    {
        KernelArguments.CheckSameShape(x, y);
        for (var row = 0; row < x.Rows; row++)
        {
            var source = x.Row(row);
            var target = y.Row(row);
            for (var i = 0; i < source.Length; i++)
            {
                target[i] += source[i];
            }
        }
    }

    /// <inheritdoc />
    public void Rope(
        in MatrixView x,
        ReadOnlySpan<int> positions,
        ReadOnlySpan<double> frequencies,
        int firstColumn,
        int groupStride,
        int groupCount)
    {
        KernelArguments.CheckRope(x, positions.Length, frequencies.Length, firstColumn, groupStride, groupCount);
        for (var row = 0; row < x.Rows; row++)
        {
            var values = x.Row(row);
            for (var i = 0; i < frequencies.Length; i++)
            {
                var (sin, cos) = Math.SinCos(positions[row] * frequencies[i]);
                for (var group = 0; group < groupCount; group++)
                {
                    var column = firstColumn + (group * groupStride) + (2 * i);
                    var (a, b) = (values[column], values[column + 1]);
                    values[column] = (float)((a * cos) - (b * sin));
                    values[column + 1] = (float)((a * sin) + (b * cos));
                }
            }
        }
    }

    /// <inheritdoc />
    public void PrefillAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation = default)
    {
        var stored = KernelArguments.Own<RowMajorAttentionWeight>(weight);
        KernelArguments.CheckPrefill(stored.Shape, kv, layer, blockTable, firstPosition, q, output);
        _attention.Prefill(stored, kv, layer, blockTable, firstPosition, q, output, cancellation);
    }

    /// <inheritdoc />
    public void DecodeAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTables,
        ReadOnlySpan<DecodeRow> rows,
        in MatrixView q,
        in MatrixView output)
    {
        var stored = KernelArguments.Own<RowMajorAttentionWeight>(weight);
        KernelArguments.CheckDecode(stored.Shape, kv, layer, blockTables, rows, q, output);
        for (var row = 0; row < rows.Length; row++)
        {
            var table = blockTables[rows[row].TableOffset..];
            _attention.Decode(stored, kv, layer, table, rows[row].ContextLength, q.Row(row), output.Row(row));
        }
    }

    /// <inheritdoc />
    public void Dispose() => _feedForward.Dispose();
}
