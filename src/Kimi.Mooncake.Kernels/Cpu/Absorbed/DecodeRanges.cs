namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// The contexts of rows cut into ranges of 1024 positions, which are worked on side by side and merged in ascending
/// order. Memory grows to the longest contexts and is kept.
/// </summary>
internal sealed class DecodeRanges
{
    /// <summary>Positions of a range; the last one of a row may have fewer.</summary>
    internal const int RangeKeys = 1024;

    // Every part reads all keys: what that costs whatever its size, and the groups of heads whose work takes as long as
    // the reading.
    private const double PartCost = 1.05;
    private const double GroupsPerRead = 1.5;

    private (int Row, int Start, int End)[] _ranges = [];
    private int[] _firstRanges = [];
    private long _wholeRanges;
    private int _longestRest;

    /// <summary>Ranges of all rows.</summary>
    internal int Count { get; private set; }

    /// <summary>Positions of all rows.</summary>
    internal long Keys { get; private set; }

    /// <summary>The row of a range, the position where it starts, and the one after its last.</summary>
    internal (int Row, int Start, int End) this[int range] => _ranges[range];

    /// <summary>The first range of a row; that of the row after the last is where they end.</summary>
    internal int First(int row) => _firstRanges[row];

    /// <summary>Cuts the contexts.</summary>
    internal void Cut(ReadOnlySpan<DecodeRow> rows)
    {
        if (_firstRanges.Length < rows.Length + 1)
        {
            _firstRanges = new int[rows.Length + 1];
        }

        (Keys, _wholeRanges, _longestRest) = (0, 0, 0);
        for (var row = 0; row < rows.Length; row++)
        {
            var ranges = (rows[row].ContextLength + RangeKeys - 1) / RangeKeys;
            _firstRanges[row + 1] = _firstRanges[row] + ranges;
            Keys += rows[row].ContextLength;
            _wholeRanges += rows[row].ContextLength / RangeKeys;
            _longestRest = Math.Max(_longestRest, rows[row].ContextLength % RangeKeys);
        }

        Count = _firstRanges[rows.Length];
        if (_ranges.Length < Count)
        {
            // Twice the need, as contexts grow by a range every 1024 steps.
            _ranges = new (int, int, int)[2 * Count];
        }

        for (var row = 0; row < rows.Length; row++)
        {
            for (var range = _firstRanges[row]; range < _firstRanges[row + 1]; range++)
            {
                var start = (range - _firstRanges[row]) * RangeKeys;
                _ranges[range] = (row, start, Math.Min(start + RangeKeys, rows[row].ContextLength));
            }
        }
    }

    /// <summary>Into how many parts to split each range, so that members of a team have the same to do.</summary>
    /// <param name="groups">Groups of heads, which cannot be split.</param>
    /// <param name="members">Members.</param>
    internal int Parts(int groups, int members)
    {
        var (best, least) = (1, Duration(1, members));
        for (var parts = 2; members > 1 && parts < 2 * groups; parts *= 2)
        {
            var used = Math.Min(parts, groups);
            var cost = Math.Max(PartCost, GroupsPerRead * used / groups);
            if (cost * Duration(used, members) < least)
            {
                (best, least) = (used, cost * Duration(used, members));
            }
        }

        return best;
    }

    /// <summary>Positions that the busiest member works on, about.</summary>
    private double Duration(int parts, int members)
    {
        var rounds = Math.DivRem(_wholeRanges * parts, members, out var left);

        // A last round with members to spare takes the rest of a context too.
        var positions = left > 0 ? (rounds + 1.0) * RangeKeys : (rounds * (double)RangeKeys) + _longestRest;
        return Math.Max(positions / parts, (double)Keys / members);
    }
}
