namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Sixteen rows.</summary>
internal unsafe struct RowRun
{
    internal byte* First;
    internal long Stride;
}

/// <summary>Where a tile's working memory has what.</summary>
internal readonly unsafe struct BytePlaces
{
    /// <summary>Values of the scores of eight heads.</summary>
    internal const int HeadGroupScores = KeyTiles.Heads * ByteKernels.ScoreStride;

    private const int LineValues = 16;

    internal BytePlaces(in ByteTileShape shape, int headGroups, byte* scratch)
    {
        var (heads, rows) = (headGroups * KeyTiles.Heads, headGroups * shape.Groups);
        Turned = scratch;
        Scores = (float*)(scratch + Math.Max(shape.PairBytes, 4 * ByteTileShape.HalfGroupBytes));
        KeyScales = Scores + (headGroups * HeadGroupScores);
        GroupScales = KeyScales + (shape.Groups * KeyTiles.TileKeys);
        Units = GroupScales + Whole(shape.Groups);
        LowUnits = Units + Whole(rows * ByteRows.Count);
        Rescale = LowUnits + Whole(rows * ByteRows.Count);
        LowRescale = Rescale + Whole(heads);
        Offsets = (long*)(LowRescale + Whole(heads));
        LowOffsets = Offsets + Whole(heads);
        Unused = (float*)(LowOffsets + Whole(heads));
        Weights = (byte*)(Unused + shape.SumValues);
        LowWeights = Weights + (rows * ByteRows.GroupBytes);
        Runs = (RowRun*)(LowWeights + (rows * ByteRows.GroupBytes));
        Staged = (byte*)(Runs + (KeyTiles.TileKeys / ByteTurning.Keys));
        End = Staged + (KeyTiles.TileKeys * shape.StagedRowBytes);
    }

    internal byte* Turned { get; }

    internal float* Scores { get; }

    internal float* KeyScales { get; }

    internal float* GroupScales { get; }

    internal float* Units { get; }

    internal float* LowUnits { get; }

    internal float* Rescale { get; }

    internal float* LowRescale { get; }

    internal long* Offsets { get; }

    internal long* LowOffsets { get; }

    internal float* Unused { get; }

    internal byte* Weights { get; }

    internal byte* LowWeights { get; }

    internal RowRun* Runs { get; }

    internal byte* Staged { get; }

    internal byte* End { get; }

    private static int Whole(int values) => (values + LineValues - 1) / LineValues * LineValues;
}
