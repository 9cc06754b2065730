using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>The operations that treat each row, or each value, by itself. Tasks are runs of rows.</summary>
internal sealed unsafe class RowJobs
{
    private const int RowsPerTask = 32;
    private const int Lanes = MicroKernels.Lanes;

    // A value of an elementwise operation takes as long as this many multiply-adds.
    private const int WorkPerValue = 8;

    private readonly WorkerTeam _team;
    private readonly TeamTask _norm;
    private readonly TeamTask _swiGlu;
    private readonly TeamTask _add;
    private MatrixView _x;
    private MatrixView _y;
    private float* _gain;
    private float _epsilon;

    internal RowJobs(WorkerTeam team)
    {
        _team = team;
        _norm = NormTask;
        _swiGlu = SwiGluTask;
        _add = AddTask;
    }

    internal void Norm(in MatrixView x, ReadOnlySpan<float> gain, float epsilon, in MatrixView y)
    {
        fixed (float* gainData = gain)
        {
            _gain = gainData;
            _epsilon = epsilon;
            Run(_norm, x, y);
        }
    }

    internal void SwiGlu(in MatrixView gate, in MatrixView up) => Run(_swiGlu, up, gate);

    internal void Add(in MatrixView x, in MatrixView y) => Run(_add, x, y);

    private void Run(TeamTask task, in MatrixView x, in MatrixView y)
    {
        (_x, _y) = (x, y);
        _team.Run(task, (x.Rows + RowsPerTask - 1) / RowsPerTask, (long)x.Rows * x.Columns * WorkPerValue);
    }

    private void NormTask(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _x.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            NormRow(_x.Data + ((long)row * _x.Stride), _gain, _epsilon, _y.Data + ((long)row * _y.Stride), _x.Columns);
        }
    }

    private void SwiGluTask(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _x.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            SwiGluRow(_y.Data + ((long)row * _y.Stride), _x.Data + ((long)row * _x.Stride), _x.Columns);
        }
    }

    private void AddTask(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _x.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            AddRow(_x.Data + ((long)row * _x.Stride), _y.Data + ((long)row * _y.Stride), _x.Columns);
        }
    }

    private static void NormRow(float* x, float* gain, float epsilon, float* y, int columns)
    {
        Vector512<float> even = default, odd = default;
        var i = 0;
        for (; i + (2 * Lanes) <= columns; i += 2 * Lanes)
        {
            Vector512<float> v0 = Vector512.Load(x + i), v1 = Vector512.Load(x + i + Lanes);
            even = Vector512.FusedMultiplyAdd(v0, v0, even);
            odd = Vector512.FusedMultiplyAdd(v1, v1, odd);
        }

        var squares = VectorMath.Sum(even + odd);
        for (; i < columns; i++)
        {
            squares = MathF.FusedMultiplyAdd(x[i], x[i], squares);
        }

        var factor = 1 / MathF.Sqrt((squares / columns) + epsilon);
        for (i = 0; i + Lanes <= columns; i += Lanes)
        {
            (Vector512.Load(gain + i) * (Vector512.Load(x + i) * factor)).Store(y + i);
        }

        for (; i < columns; i++)
        {
            y[i] = gain[i] * (x[i] * factor);
        }
    }

    /// <summary><c>gate = silu(gate) * up</c> of so many values.</summary>
    [SkipLocalsInit]
    internal static void SwiGluRow(float* gate, float* up, int columns)
    {
        var i = 0;
        for (; i + Lanes <= columns; i += Lanes)
        {
            SwiGluLanes(gate + i, up + i);
        }

        if (i < columns)
        {
            float* lastGate = stackalloc float[Lanes], lastUp = stackalloc float[Lanes];
            var count = columns - i;
            Vector512<float>.Zero.Store(lastGate);
            Vector512<float>.Zero.Store(lastUp);
            new ReadOnlySpan<float>(gate + i, count).CopyTo(new Span<float>(lastGate, Lanes));
            new ReadOnlySpan<float>(up + i, count).CopyTo(new Span<float>(lastUp, Lanes));
            SwiGluLanes(lastGate, lastUp);
            new ReadOnlySpan<float>(lastGate, count).CopyTo(new Span<float>(gate + i, count));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SwiGluLanes(float* gate, float* up)
    {
        var value = Vector512.Load(gate);
        var silu = value / (Vector512<float>.One + VectorMath.Exp(-value));
        (silu * Vector512.Load(up)).Store(gate);
    }

    /// <summary><c>y += x</c> of so many values.</summary>
    internal static void AddRow(float* x, float* y, int columns)
    {
        var i = 0;
        for (; i + Lanes <= columns; i += Lanes)
        {
            (Vector512.Load(x + i) + Vector512.Load(y + i)).Store(y + i);
        }

        for (; i < columns; i++)
        {
            y[i] += x[i];
        }
    }
}
