using System.Numerics.Tensors;

namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>
/// Feed-forward networks and mixtures of experts made of a kernel set's other operations, expert after expert: in the
/// order of additions that every set keeps.
/// </summary>
internal sealed class PlainFeedForward(IKernels kernels) : IDisposable
{
    private Matrix? _input;
    private Matrix? _gate;
    private Matrix? _up;
    private Matrix? _down;
    private int[] _rows = [];
    private float[] _weights = [];

    internal void Add(in MatrixView x, FeedForwardWeight weight, in MatrixView y)
    {
        Grow(ref _down, x.Rows, weight.OutputSize);
        kernels.Add(Apply(x, weight), y);
    }

    internal void Add(
        in MatrixView x, ExpertBank bank, ReadOnlySpan<int> chosen, ReadOnlySpan<float> weights, in MatrixView y)
    {
        Grow(ref _input, x.Rows, x.Columns);
        for (var e = 0; e < bank.Experts.Length; e++)
        {
            var count = RowsOf(e, x.Rows, chosen, weights);
            if (count == 0)
            {
                continue;
            }

            var input = _input!.View(count, x.Columns);
            for (var i = 0; i < count; i++)
            {
                x.Row(_rows[i]).CopyTo(input.Row(i));
            }

            var output = Apply(input, bank.Experts[e]);
            for (var i = 0; i < count; i++)
            {
                var target = y.Row(_rows[i]);
                TensorPrimitives.MultiplyAdd(output.Row(i), _weights[i], target, target);
            }
        }

        if (bank.Shared is { } shared)
        {
            Add(x, shared, y);
        }
    }

    /// <summary>Room for a result of the shape of another.</summary>
    internal MatrixView Result(in MatrixView like)
    {
        Grow(ref _down, like.Rows, like.Columns);
        return _down!.View(like.Rows, like.Columns);
    }

    public void Dispose()
    {
        _input?.Dispose();
        _gate?.Dispose();
        _up?.Dispose();
        _down?.Dispose();
    }

    private MatrixView Apply(in MatrixView x, FeedForwardWeight weight)
    {
        Grow(ref _gate, x.Rows, weight.InnerSize);
        Grow(ref _up, x.Rows, weight.InnerSize);
        Grow(ref _down, x.Rows, weight.OutputSize);
        var gate = _gate!.View(x.Rows, weight.InnerSize);
        var up = _up!.View(x.Rows, weight.InnerSize);
        var down = _down!.View(x.Rows, weight.OutputSize);
        kernels.MatMul(x, weight.Gate, gate);
        kernels.MatMul(x, weight.Up, up);
        kernels.SwiGlu(gate, up);
        kernels.MatMul(gate, weight.Down, down);
        return down;
    }

    private int RowsOf(int expert, int rowCount, ReadOnlySpan<int> chosen, ReadOnlySpan<float> weights)
    {
        if (_rows.Length < rowCount)
        {
            (_rows, _weights) = (new int[rowCount], new float[rowCount]);
        }

        var perRow = chosen.Length / rowCount;
        var count = 0;
        for (var row = 0; row < rowCount; row++)
        {
            var place = chosen.Slice(row * perRow, perRow).IndexOf(expert);
            if (place >= 0)
            {
                _rows[count] = row;
                _weights[count++] = weights[(row * perRow) + place];
            }
        }

        return count;
    }

    private static void Grow(ref Matrix? matrix, int rows, int columns)
    {
        if (matrix is null || matrix.Rows < rows || matrix.Columns < columns)
        {
            (rows, columns) = (Math.Max(rows, matrix?.Rows ?? 0), Math.Max(columns, matrix?.Columns ?? 0));
            matrix?.Dispose();
            matrix = null;
            matrix = new Matrix(rows, columns);
        }
    }
}
