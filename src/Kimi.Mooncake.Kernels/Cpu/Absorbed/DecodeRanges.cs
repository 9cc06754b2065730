namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// The contexts of rows cut into ranges of 1024 positions, which are worked on side by side and merged in ascending
/// order. Memory grows to the longest contexts and is kept.
/// </summary>
internal sealed class DecodeRanges
{
    /// <summary>Positions of a range; the last one of a row may have fewer.</summary>
    internal const int RangeKeys = 1024;

    private (int Row, int Start)[] _ranges = [];
    private int[] _firstRanges = [];

    /// <summary>Ranges of all rows.</summary>
    internal int Count { get; private set; }

    /// <summary>Positions of all rows.</summary>
    internal long Keys { get; private set; }

    /// <summary>The row of a range and the position where it starts.</summary>
    internal (int Row, int Start) this[int range] => _ranges[range];

    /// <summary>The first range of a row; that of the row after the last is where they end.</summary>
    internal int First(int row) => _firstRanges[row];

    /// <summary>Cuts the contexts.</summary>
    internal void Cut(ReadOnlySpan<DecodeRow> rows)
    {
        if (_firstRanges.Length < rows.Length + 1)
        {
            _firstRanges = new int[rows.Length + 1];
        }

        Keys = 0;
        for (var row = 0; row < rows.Length; row++)
        {
            var ranges = (rows[row].ContextLength + RangeKeys - 1) / RangeKeys;
            _firstRanges[row + 1] = _firstRanges[row] + ranges;
            Keys += rows[row].ContextLength;
        }

        Count = _firstRanges[rows.Length];
        if (_ranges.Length < Count)
        {
            // Twice the need, as contexts grow by a range every 1024 steps.
            _ranges = new (int, int)[2 * Count];
        }

        for (var row = 0; row < rows.Length; row++)
        {
            for (var range = _firstRanges[row]; range < _firstRanges[row + 1]; range++)
            {
                _ranges[range] = (row, (range - _firstRanges[row]) * RangeKeys);
            }
        }
    }
}
