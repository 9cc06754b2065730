namespace Kimi.Mooncake.Models.Needle;

/// <summary>A matrix of doubles of which few are set. Reading an unset value gives 0.</summary>
internal sealed class SparseMatrix(int rows, int columns)
{
    private readonly Dictionary<int, double>?[] _rows = new Dictionary<int, double>?[rows];

    public int Rows => rows;

    public int Columns => columns;

    public double this[int row, int column]
    {
        get => _rows[row]?.GetValueOrDefault(column) ?? 0;
        set
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)column, (uint)columns, nameof(column));
            (_rows[row] ??= [])[column] = value;
        }
    }

    /// <summary>Sets the values of a row that are set here, rounded to singles.</summary>
    public void FillRow(long row, Span<float> values)
    {
        foreach (var (column, value) in _rows[row] ?? [])
        {
            values[column] = (float)value;
        }
    }
}
