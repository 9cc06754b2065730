using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Rotation of pairs. The sines and cosines of the last positions are kept: the layers of a step, and its queries and
/// keys, ask for the same ones.
/// </summary>
internal sealed unsafe class RopeJob : IDisposable
{
    private const int RowsPerTask = 32;
    private const int Lanes = MicroKernels.Lanes;

    // A sine and a cosine take as long as this many multiply-adds.
    private const int WorkPerAngle = 1000;
    private const int WorkPerValue = 8;

    private readonly WorkerTeam _team;
    private readonly TeamTask _rotate;
    private readonly Scratch _tables = new();
    private int[] _positions = [];
    private double[] _frequencies = [];
    private int _knownRows;
    private float* _table;
    private MatrixView _x;
    private bool _fill;
    private int _firstColumn;
    private int _groupStride;
    private int _groupCount;

    internal RopeJob(WorkerTeam team)
    {
        _team = team;
        _rotate = RotateTask;
    }

    /// <summary>Values of a row's cosines, and of its sines: one for each of the two values of a pair.</summary>
    private int TableColumns => 2 * _frequencies.Length;

    internal void Run(
        in MatrixView x,
        ReadOnlySpan<int> positions,
        ReadOnlySpan<double> frequencies,
        int firstColumn,
        int groupStride,
        int groupCount)
    {
        (_x, _firstColumn, _groupStride, _groupCount) = (x, firstColumn, groupStride, groupCount);
        _fill = !Knows(positions, frequencies);
        if (_fill)
        {
            Remember(positions, frequencies);
        }

        var angles = _fill ? (long)x.Rows * frequencies.Length : 0;
        var values = (long)x.Rows * groupCount * TableColumns;
        _team.Run(
            _rotate, (x.Rows + RowsPerTask - 1) / RowsPerTask, (angles * WorkPerAngle) + (values * WorkPerValue));
        _knownRows = Math.Max(_knownRows, x.Rows);
    }

    public void Dispose() => _tables.Dispose();

    private bool Knows(ReadOnlySpan<int> positions, ReadOnlySpan<double> frequencies) =>
        positions.Length <= _knownRows
        && frequencies.SequenceEqual(_frequencies)
        && positions.SequenceEqual(_positions.AsSpan(0, positions.Length));

    private void Remember(ReadOnlySpan<int> positions, ReadOnlySpan<double> frequencies)
    {
        _knownRows = 0;
        if (_positions.Length < positions.Length)
        {
            _positions = new int[positions.Length];
        }

        if (_frequencies.Length != frequencies.Length)
        {
            _frequencies = new double[frequencies.Length];
        }

        positions.CopyTo(_positions);
        frequencies.CopyTo(_frequencies);
        _table = _tables.Take((long)positions.Length * 2 * TableColumns);
    }

    private void RotateTask(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _x.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            var cosines = _table + ((long)row * 2 * TableColumns);
            var sines = cosines + TableColumns;
            if (_fill)
            {
                FillAngles(_positions[row], cosines, sines);
            }

            var values = _x.Data + ((long)row * _x.Stride) + _firstColumn;
            for (var group = 0; group < _groupCount; group++)
            {
                Rotate(values + ((long)group * _groupStride), cosines, sines, TableColumns);
            }
        }
    }

    private void FillAngles(int position, float* cosines, float* sines)
    {
        for (var i = 0; i < _frequencies.Length; i++)
        {
            var (sin, cos) = Math.SinCos(position * _frequencies[i]);
            cosines[2 * i] = (float)cos;
            cosines[(2 * i) + 1] = (float)cos;
            sines[2 * i] = -(float)sin;
            sines[(2 * i) + 1] = (float)sin;
        }
    }

    private static void Rotate(float* x, float* cosines, float* sines, int columns)
    {
        var swap = Vector512.Create(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        var i = 0;
        for (; i + Lanes <= columns; i += Lanes)
        {
            var values = Vector512.Load(x + i);
            var turned = Vector512.Shuffle(values, swap) * Vector512.Load(sines + i);
            Vector512.FusedMultiplyAdd(values, Vector512.Load(cosines + i), turned).Store(x + i);
        }

        for (; i < columns; i += 2)
        {
            var (a, b) = (x[i], x[i + 1]);
            x[i] = MathF.FusedMultiplyAdd(a, cosines[i], b * sines[i]);
            x[i + 1] = MathF.FusedMultiplyAdd(b, cosines[i + 1], a * sines[i + 1]);
        }
    }
}
