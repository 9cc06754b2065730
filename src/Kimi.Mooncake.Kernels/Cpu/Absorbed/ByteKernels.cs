using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>What scores of 32 keys take; the routines know these members.</summary>
internal unsafe struct ByteScores
{
    /// <summary>Rotated parts of the first eight heads' queries, their latents, scales and starts.</summary>
    internal uint* Ropes;
    internal uint* Latents;
    internal float* QueryScales;
    internal int* Starts;
    internal long HeadGroups;

    /// <summary>Bytes from the queries of eight heads to those of the next.</summary>
    internal long QueryBytes;

    /// <summary>The same of the keys, without starts.</summary>
    internal byte* KeyRopes;
    internal byte* KeyLatents;
    internal byte* KeyScales;
    internal long RopePairs;
    internal long Groups;

    /// <summary>Scores of the first of the keys.</summary>
    internal float* Scores;

    /// <summary>Memory that will be read next, of which a step brings a byte's line near.</summary>
    internal byte* Ahead;
    internal long AheadStepBytes;
}

/// <summary>What the weights of eight heads take; the routine knows these members.</summary>
internal unsafe struct ByteWeights
{
    /// <summary>Scores; hidden ones are negative infinity. They become the weights before they are rounded.</summary>
    internal float* Scores;

    /// <summary>Bytes of a head's scores: 1 or 2 times those of 64 keys.</summary>
    internal long ScoreBytes;

    /// <summary>Running maxima; negative infinity at first.</summary>
    internal float* Maxima;

    /// <summary>Running sums of the weights before they are rounded; 0 at first.</summary>
    internal float* Sums;

    /// <summary>Keys' scales by group, each over the group's greatest.</summary>
    internal float* KeyScales;

    /// <summary>Greatest scale of each group.</summary>
    internal float* GroupScales;
    internal long Groups;

    /// <summary>Receive the rounded weights, a batch of <see cref="ByteRows"/>.</summary>
    internal byte* Weights;
    internal float* Units;
    internal float* Rescale;

    /// <summary>Receive the lower parts of weights, and where their sums are: batches after another.</summary>
    internal byte* LowWeights;
    internal float* LowUnits;
    internal long* LowOffsets;

    /// <summary>Lower rows up to now; receives those with these heads.</summary>
    internal long LowRows;

    /// <summary>Where the sums of the first head are, and bytes to those of the next.</summary>
    internal long SumOffset;
    internal long SumStrideBytes;

    /// <summary>Factor of the scores times the base-2 logarithm of e; above 0.</summary>
    internal float Scale;

    /// <summary>A weight above the sum over this is so large that weights must be in two parts.</summary>
    internal float Spread;
}

/// <summary>What weighted sums of 64 latents take; the routine knows these members.</summary>
internal unsafe struct ByteSums
{
    internal byte* Latents;
    internal byte* Weights;

    /// <summary>What a unit of a row's weights is worth.</summary>
    internal float* Units;

    /// <summary>Factors of the sums before.</summary>
    internal float* Rescale;

    /// <summary>Where the sums of a row are.</summary>
    internal long* Offsets;
    internal byte* Sums;
    internal long Batches;

    /// <summary>Bytes from the weights of a batch to those of the next; an 32nd of it for units.</summary>
    internal long BatchBytes;
    internal long Quads;
    internal byte* Ahead;
    internal long AheadStepBytes;

    /// <summary>Rows of which other latents are to be turned meanwhile; null for none.</summary>
    internal RowRun* NextRuns;

    /// <summary>Where these begin in a row, and where they go.</summary>
    internal long NextOffset;
    internal byte* NextLatents;
}

/// <summary>
/// Rows of rounded weights in batches of eight: those of eight heads, or the lower parts of weights in two parts.
/// </summary>
internal static class ByteRows
{
    /// <summary>Rows of a batch.</summary>
    internal const int Count = KeyTiles.Heads;

    /// <summary>Rows that can be summed by themselves.</summary>
    internal const int Few = 4;

    /// <summary>Bytes from a row's weights to the next one's.</summary>
    internal const int Bytes = KeyTiles.TileKeys;

    /// <summary>Bytes of a batch's weights for a group of latents.</summary>
    internal const int GroupBytes = Count * Bytes;

    /// <summary>Bytes of weights for each byte of units.</summary>
    internal const int UnitShare = Bytes / sizeof(float);
}

/// <summary>
/// The two products of absorbed attention over cached bytes, and the softmax between them. The
/// bits are the same on every path.
/// </summary>
/// <remarks>
/// <para>Queries in the latent space are rounded to signed bytes as cached latents are: a scale for 64, the greatest
/// magnitude over 127. A score is first the chain of the rotated values in bfloat16 by pairs, of each pair the odd one
/// first (<see cref="Reference.Bf16Chain"/>); then, group after group of 64, <c>fma(products' sum, round(key's scale *
/// query's scale), score)</c>, where the sum is an exact integer.</para>
/// <para>Weights of a tile are <see cref="OnlineSoftmax"/>'s. For sums they are rounded, by group of 64 latents as the
/// keys' scales s are part of them: with the greatest weight <c>w'</c> and the greatest scale <c>s'</c> of the tile,
/// <c>W = round(w * (levels / w') * (s * (1 / s')))</c>, which are nothing where <c>w'</c> is below 2^-40. Levels are
/// 255, or 65535 where <c>w' * spread</c> is above the sum of all weights up to this tile; spread is 16 times the
/// greatest scale of a group over their mean, of the group where that is most. The latter are two rows of bytes. Sums
/// are rescaled, and then each row adds <c>fma(sum of W * byte, unit, sums)</c>, the upper one first; unit is
/// <c>(w' / levels) * s'</c>, 256 times that for the upper of two. The softmax' denominator has weights as they are
/// before they are rounded.</para>
/// </remarks>
internal sealed unsafe class ByteKernels
{
    /// <summary>Values from one head's scores to the next one's: off each other's cache sets.</summary>
    internal const int ScoreStride = KeyTiles.TileKeys + 32;

    private static readonly Lazy<MachineCode> RopeCode = new(() => new MachineCode(ByteScoreRoutine.WriteRopes));
    private static readonly Lazy<MachineCode> ScoreCode = new(() => new MachineCode(ByteScoreRoutine.WriteLatents));
    private static readonly Lazy<MachineCode> WeightCode = new(() => new MachineCode(ByteSoftmaxRoutine.Write));

    private static readonly Lazy<MachineCode> SumCode =
        new(() => new MachineCode(c => ByteSumRoutine.Write(c, KeyTiles.Heads)));

    private static readonly Lazy<MachineCode> FewSumCode =
        new(() => new MachineCode(c => ByteSumRoutine.Write(c, ByteRows.Few)));

    private readonly MachineCode? _ropes;
    private readonly MachineCode? _scores;
    private readonly MachineCode? _weights;
    private readonly MachineCode? _sums;
    private readonly MachineCode? _fewSums;
    private readonly bool _hasVnni;

    /// <param name="path">A path that this machine has.</param>
    internal ByteKernels(InstructionPath path)
    {
        _hasVnni = path != InstructionPath.Portable && AvxVnni.IsSupported;
        if (path >= InstructionPath.Avx512)
        {
            (_scores, _weights) = (ScoreCode.Value, WeightCode.Value);
            (_sums, _fewSums) = (SumCode.Value, FewSumCode.Value);
            _ropes = InstructionPaths.HasBf16(path) ? RopeCode.Value : null;
        }
    }

    /// <summary>Scores of 32 keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Score(ByteScores call)
    {
        if (_ropes is not null)
        {
            _ropes.Call(&call);
        }
        else
        {
            ByteChains.ScoreRopes(call);
        }

        if (_scores is not null)
        {
            _scores.Call(&call);
        }
        else if (_hasVnni)
        {
            ByteChains.ScoreLatents<VnniDot>(call);
        }
        else
        {
            ByteChains.ScoreLatents<PortableDot>(call);
        }
    }

    /// <summary>Scores of eight heads to rounded weights; how many rows of lower parts there are then.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal int Weigh(ByteWeights call)
    {
        if (_weights is not null)
        {
            _weights.Call(&call);
        }
        else
        {
            ByteSoftmax.Weigh(ref call);
        }

        return (int)call.LowRows;
    }

    /// <summary>Adds rows' weighted sums of 64 latents, and turns those that come next.</summary>
    /// <param name="call">What to sum.</param>
    /// <param name="rows">Rows of each batch: 8, or the first 4.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Sum(ByteSums call, int rows)
    {
        if (_sums is not null)
        {
            (rows == ByteRows.Few ? _fewSums! : _sums).Call(&call);
            return;
        }

        if (_hasVnni)
        {
            ByteChains.Sum<VnniDot>(call, rows);
        }
        else
        {
            ByteChains.Sum<PortableDot>(call, rows);
        }

        if (call.NextRuns != null)
        {
            ByteTurning.TurnLatents(
                call.NextRuns, (int)call.Quads * ByteTileShape.QuadKeys, call.NextOffset, call.NextLatents);
        }
    }
}
