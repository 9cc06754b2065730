using System.Runtime.CompilerServices;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Consecutive pairs of cached rows.</summary>
internal unsafe struct LatentRun
{
    /// <summary>First row.</summary>
    internal byte* First;

    /// <summary>Bytes from the first row of a pair to its second; 0 where there is none, as its weight is 0.</summary>
    internal long SecondOffsetBytes;

    /// <summary>Pairs, at least 1.</summary>
    internal long Pairs;

    /// <summary>Memory that will be read next, of which a step of the routines brings a byte's line near.</summary>
    internal byte* Ahead;

    /// <summary>How far that advances with each step.</summary>
    internal long AheadStepBytes;
}

/// <summary>What scores of eight heads take; the routine knows these offsets.</summary>
internal unsafe struct LatentScores
{
    internal ushort* Queries;
    internal long QueryStrideBytes;
    internal byte* Keys;
    internal long KeyStrideBytes;
    internal long Steps;
    internal long KeyGroups;
    internal float* Scores;
    internal long ScoreStrideBytes;
    internal byte* Ahead;
    internal long AheadStepBytes;
}

/// <summary>What weighted sums of eight heads take; the routine knows these offsets.</summary>
internal unsafe struct LatentSums
{
    internal LatentRun* Runs;
    internal long RunCount;
    internal ushort* Weights;
    internal float* Sums;
    internal long SumStrideBytes;
    internal float* Rescale;
    internal long Blocks;
    internal long PairStrideBytes;
}

/// <summary>
/// The two products of absorbed attention in bfloat16, for eight heads at once: scores against cached rows, and sums of
/// cached latents by weight. The bits are the same on every path.
/// </summary>
/// <remarks>
/// <c>Fma(a, b, c)</c> is the fused multiply-add in single precision where a and b are bfloat16, and inputs and results
/// below the smallest normal number are zeros. A score has 16 lanes: lane l takes the pairs l, l + 16, l + 32 and so on
/// of the row, of each pair the odd value first; then halves of the lanes are added to halves. A sum is one chain over
/// the keys of a tile by pairs, of each pair the odd key first, and is added to the sum before, times a factor, at the
/// end.
/// </remarks>
internal sealed unsafe class LatentKernels
{
    /// <summary>Heads that are computed at once.</summary>
    internal const int Heads = 8;

    /// <summary>Keys of which a routine scores a group at once.</summary>
    internal const int KeyGroup = 4;

    /// <summary>Values of a step of a score, and of a block of sums.</summary>
    internal const int StepValues = 32;

    /// <summary>Most keys of a call.</summary>
    internal const int TileKeys = 128;

    /// <summary>Values from one head's weights to the next one's: off each other's cache sets.</summary>
    internal const int WeightStride = TileKeys + 16;

    // Weights are 2^-40 or more, or zero.
    private const int WeightExponentMin = 127 - 40;

    // One routine for all kernel sets, as it has no state; it lives as long as the process.
    private static readonly Lazy<MachineCode> ScoreCode = new(() => new MachineCode(LatentScoreRoutine.Write));
    private static readonly Lazy<MachineCode> SumCode = new(() => new MachineCode(LatentSumRoutine.Write));

    private static readonly Lazy<MachineCode> WeightCode = new(() => new MachineCode(LatentSoftmaxRoutine.Write));

    private readonly MachineCode? _scores;
    private readonly MachineCode? _weights;
    private readonly MachineCode? _sums;

    /// <param name="path">A path that this machine has.</param>
    internal LatentKernels(InstructionPath path)
    {
        if (InstructionPaths.HasBf16(path))
        {
            (_scores, _weights, _sums) = (ScoreCode.Value, WeightCode.Value, SumCode.Value);
        }
    }

    /// <summary>
    /// The least exponent of the values of rows, for <see cref="Score"/> and <see cref="Sum"/>; anything where it is
    /// not needed.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal int Exponent(byte* rows, long strideBytes, int count, int values)
    {
        var least = LatentChains.ExponentMax;
        for (var row = 0; row < count && _scores is null; row++)
        {
            least = Math.Min(least, LatentChains.LeastExponent((ushort*)(rows + (row * strideBytes)), values));
        }

        return least;
    }

    /// <summary>Steps of <see cref="Score"/>, each of which brings memory near.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static long ScoreSteps(int keys, long steps) =>
        ((keys / KeyGroup) + (keys % KeyGroup)) * LatentScoreRoutine.Tiles * steps;

    /// <summary><c>scores[h][p] = queries[h] . keys[p]</c> for eight heads.</summary>
    /// <param name="call">Everything but the groups; scores have room for three more than there are.</param>
    /// <param name="keys">Keys.</param>
    /// <param name="queryExponent">Least exponent of the queries.</param>
    /// <param name="keyExponent">Least exponent of the keys.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Score(LatentScores call, int keys, int queryExponent, int keyExponent)
    {
        var whole = keys / KeyGroup;
        if (whole > 0)
        {
            call.KeyGroups = whole;
            Run(call, queryExponent, keyExponent);
        }

        // The last ones alone, as there may be nothing readable behind them.
        call.Keys += whole * KeyGroup * call.KeyStrideBytes;
        call.Scores += whole * KeyGroup;
        call.Ahead += ScoreSteps(whole * KeyGroup, call.Steps) * call.AheadStepBytes;
        call.KeyGroups = 1;
        for (var key = whole * KeyGroup; key < keys; key++)
        {
            var single = call;
            single.KeyStrideBytes = 0;
            Run(single, queryExponent, keyExponent);
            call.Keys += call.KeyStrideBytes;
            call.Scores++;
            call.Ahead += ScoreSteps(1, call.Steps) * call.AheadStepBytes;
        }
    }

    /// <summary>
    /// Scores of eight heads to weights: <c>2^(scores[h][p] * scale - max[h])</c>, zero below 2^-40 and rounded, where
    /// the maximum is that of all tiles up to this. Scores are written over.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Weigh(LatentWeights call)
    {
        if (_weights is not null)
        {
            _weights.Call(&call);
        }
        else
        {
            LatentSoftmax.Weigh(call);
        }
    }

    /// <summary>
    /// <c>sums[h][j] = sums[h][j] * rescale[h] + sum over keys of weights[h][key] * rows[key][j]</c> for eight heads,
    /// in blocks of 32 whose order <see cref="CopyOrdered"/> undoes.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Sum(LatentSums call, int keyExponent)
    {
        if (_sums is not null)
        {
            _sums.Call(&call);
        }
        else if (LatentChains.IsPlain(WeightExponentMin, keyExponent))
        {
            LatentChains.Sum<PlainChain>(call);
        }
        else
        {
            LatentChains.Sum<FlushingChain>(call);
        }
    }

    /// <summary>Copies sums, of which there are a multiple of 32, so that they lie as the rows do.</summary>
    internal void CopyOrdered(float* sums, float* target, int count)
    {
        if (_sums is null)
        {
            new ReadOnlySpan<float>(sums, count).CopyTo(new Span<float>(target, count));
        }
        else
        {
            LatentSumRoutine.CopyOrdered(sums, target, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Run(LatentScores call, int queryExponent, int keyExponent)
    {
        if (_scores is not null)
        {
            _scores.Call(&call);
        }
        else if (LatentChains.IsPlain(queryExponent, keyExponent))
        {
            LatentChains.Score<PlainChain>(call);
        }
        else
        {
            LatentChains.Score<FlushingChain>(call);
        }
    }
}
