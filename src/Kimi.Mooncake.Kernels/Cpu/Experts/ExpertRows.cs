namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The rows of a batch sorted by the experts that they chose. A slot is a row at one of its experts; the slots of an
/// expert follow one another, rows ascending.
/// </summary>
internal sealed class ExpertRows
{
    private int[] _firstSlots = [];
    private int[] _rows = [];
    private int[] _slots = [];
    private float[] _weights = [];

    /// <summary>Slots of all experts.</summary>
    internal int SlotCount { get; private set; }

    /// <summary>Experts that each row chose.</summary>
    internal int PerRow { get; private set; }

    /// <summary>The row of each slot.</summary>
    internal ReadOnlySpan<int> Rows => _rows.AsSpan(0, SlotCount);

    /// <summary>The weight of each slot.</summary>
    internal ReadOnlySpan<float> Weights => _weights.AsSpan(0, SlotCount);

    /// <summary>Sorts.</summary>
    /// <param name="experts">Number of experts.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="chosen">Experts of each row, <c>[row][place]</c>.</param>
    /// <param name="weights">Their weights.</param>
    internal void Sort(int experts, int rows, ReadOnlySpan<int> chosen, ReadOnlySpan<float> weights)
    {
        SlotCount = chosen.Length;
        PerRow = chosen.Length / rows;
        Reserve(experts);
        // Counts stand one place to the right of where slots begin, so that filling moves each start to its end.
        var next = _firstSlots.AsSpan(0, experts + 2);
        next.Clear();
        foreach (var expert in chosen)
        {
            next[expert + 2]++;
        }

        for (var e = 2; e < next.Length; e++)
        {
            next[e] += next[e - 1];
        }

        for (var i = 0; i < chosen.Length; i++)
        {
            var slot = next[chosen[i] + 1]++;
            (_rows[slot], _weights[slot], _slots[i]) = (i / PerRow, weights[i], slot);
        }
    }

    /// <summary>First slot of an expert.</summary>
    internal int FirstSlot(int expert) => _firstSlots[expert];

    /// <summary>Rows that chose an expert.</summary>
    internal int CountOf(int expert) => _firstSlots[expert + 1] - _firstSlots[expert];

    /// <summary>The slots of a row.</summary>
    internal ReadOnlySpan<int> SlotsOf(int row) => _slots.AsSpan(row * PerRow, PerRow);

    /// <summary>Forgets all rows.</summary>
    internal void Clear() => (SlotCount, PerRow) = (0, 0);

    private void Reserve(int experts)
    {
        if (_firstSlots.Length < experts + 2)
        {
            _firstSlots = new int[experts + 2];
        }

        if (_rows.Length < SlotCount)
        {
            _rows = new int[SlotCount];
            _slots = new int[SlotCount];
            _weights = new float[SlotCount];
        }
    }
}
