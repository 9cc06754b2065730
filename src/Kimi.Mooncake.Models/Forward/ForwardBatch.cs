namespace Kimi.Mooncake.Models;

/// <summary>For which tokens of a slice logits are computed.</summary>
public enum LogitsWanted
{
    /// <summary>For none.</summary>
    None,

    /// <summary>For the last one.</summary>
    Last,

    /// <summary>For every one.</summary>
    All,
}

/// <summary>A run of consecutive positions of one sequence inside a <see cref="ForwardBatch"/>.</summary>
/// <param name="FirstRow">Row of its first token in the batch.</param>
/// <param name="RowCount">Tokens; 1 for a decode slice.</param>
/// <param name="FirstPosition">Position of its first token in the sequence.</param>
/// <param name="TableOffset">Where its block table starts in the batch's tables.</param>
/// <param name="TableLength">Blocks of its table.</param>
/// <param name="IsDecode">Whether it is the one token of a decode slice.</param>
/// <param name="AbsorbedRows">Last rows whose attention is computed in the absorbed form.</param>
/// <param name="LogitsRow">First row of its logits.</param>
/// <param name="LogitsRowCount">Rows of logits; they belong to the slice's last tokens.</param>
/// <param name="Cancellation">Once set, the slice need not be computed.</param>
internal readonly record struct ForwardSlice(
    int FirstRow,
    int RowCount,
    int FirstPosition,
    int TableOffset,
    int TableLength,
    bool IsDecode,
    int AbsorbedRows,
    int LogitsRow,
    int LogitsRowCount,
    CancellationToken Cancellation);

/// <summary>
/// The tokens of one forward pass with the block tables that hold their KV. Reused from step to step; grows to the
/// largest step and then allocates nothing. Decode slices are added before prefill slices.
/// </summary>
public sealed class ForwardBatch
{
    private int[] _tokens = new int[64];
    private int[] _positions = new int[64];
    private int[] _tables = new int[64];
    private ForwardSlice[] _slices = new ForwardSlice[16];

    /// <summary>Tokens over all slices.</summary>
    internal int RowCount { get; private set; }

    /// <summary>Leading rows that belong to decode slices.</summary>
    internal int DecodeRowCount { get; private set; }

    /// <summary>Rows of logits that are wanted.</summary>
    internal int LogitsRowCount { get; private set; }

    /// <summary>Number of slices.</summary>
    internal int SliceCount { get; private set; }

    internal ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, RowCount);

    internal ReadOnlySpan<int> Positions => _positions.AsSpan(0, RowCount);

    internal ReadOnlySpan<int> Tables => _tables.AsSpan(0, TableCount);

    internal ReadOnlySpan<ForwardSlice> Slices => _slices.AsSpan(0, SliceCount);

    private int TableCount { get; set; }

    /// <summary>Forgets all slices.</summary>
    public void Clear()
    {
        RowCount = 0;
        DecodeRowCount = 0;
        LogitsRowCount = 0;
        SliceCount = 0;
        TableCount = 0;
    }

    /// <summary>Adds a slice.</summary>
    /// <param name="tokens">Its token ids.</param>
    /// <param name="firstPosition">Position of the first of them.</param>
    /// <param name="blockTable">Blocks that hold positions 0 to the slice's last.</param>
    /// <param name="isDecode">Absorbed attention; one token.</param>
    /// <param name="wanted">Tokens whose logits are wanted.</param>
    /// <param name="absorbedRows">Last tokens of a prefill slice with absorbed attention.</param>
    /// <param name="cancellation">
    /// Once set, the slice need not be computed: its KV and its logits are then of no use, and others are not affected.
    /// </param>
    /// <returns>The first row of its logits.</returns>
    /// <exception cref="ArgumentException">
    /// The slice is empty, or a decode slice has several tokens or comes late.
    /// </exception>
    public int Add(
        ReadOnlySpan<int> tokens,
        int firstPosition,
        ReadOnlySpan<int> blockTable,
        bool isDecode,
        LogitsWanted wanted,
        int absorbedRows = 0,
        CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)absorbedRows, (uint)tokens.Length, nameof(absorbedRows));
        if (tokens.IsEmpty || (isDecode && (tokens.Length != 1 || DecodeRowCount != RowCount)))
        {
            throw new ArgumentException("a decode slice has one token and comes before prefill slices", nameof(tokens));
        }

        Reserve(ref _tokens, RowCount + tokens.Length);
        Reserve(ref _positions, RowCount + tokens.Length);
        Reserve(ref _tables, TableCount + blockTable.Length);
        if (SliceCount == _slices.Length)
        {
            Array.Resize(ref _slices, SliceCount * 2);
        }

        var logitsRow = LogitsRowCount;
        LogitsRowCount += wanted switch
        {
            LogitsWanted.None => 0,
            LogitsWanted.Last => 1,
            _ => tokens.Length,
        };
        _slices[SliceCount++] = new ForwardSlice(
            RowCount,
            tokens.Length,
            firstPosition,
            TableCount,
            blockTable.Length,
            isDecode,
            isDecode ? 1 : absorbedRows,
            logitsRow,
            LogitsRowCount - logitsRow,
            cancellation);
        tokens.CopyTo(_tokens.AsSpan(RowCount));
        blockTable.CopyTo(_tables.AsSpan(TableCount));
        for (var i = 0; i < tokens.Length; i++)
        {
            _positions[RowCount + i] = firstPosition + i;
        }

        RowCount += tokens.Length;
        DecodeRowCount += isDecode ? 1 : 0;
        TableCount += blockTable.Length;
        return logitsRow;
    }

    /// <summary>Whether nobody waits for any slice any more.</summary>
    internal bool IsCancelled()
    {
        foreach (ref readonly var slice in Slices)
        {
            if (!slice.Cancellation.IsCancellationRequested)
            {
                return false;
            }
        }

        return true;
    }

    private static void Reserve(ref int[] array, int length)
    {
        if (array.Length < length)
        {
            Array.Resize(ref array, Math.Max(length, array.Length * 2));
        }
    }
}
