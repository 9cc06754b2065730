using Kimi.Mooncake.Kernels.Cpu.Absorbed;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>What rounding weights gives.</summary>
internal sealed unsafe class ByteTestWeights(int groups)
{
    private readonly byte[] _weights = new byte[groups * ByteRows.GroupBytes];
    private readonly byte[] _lowWeights = new byte[groups * ByteRows.GroupBytes];
    private readonly float[] _units = new float[groups * ByteRows.Count];
    private readonly float[] _lowUnits = new float[groups * ByteRows.Count];
    private readonly long[] _lowOffsets = new long[ByteRows.Count];

    internal float[] Rescale { get; } = new float[KeyTiles.Heads];

    internal int LowRows { get; private set; }

    internal float Run(
        ByteKernels kernels, float[] scores, float[][] keyScales, int keys, float[] maxima, float[] sums,
        float scale)
    {
        var (shares, greatest) = (new float[groups * KeyTiles.TileKeys], new float[groups]);
        for (var group = 0; group < groups; group++)
        {
            keyScales[group].CopyTo(shares, group * KeyTiles.TileKeys);
        }

        // Written over: the caller keeps its own.
        fixed (float* s = scores.ToArray(), m = maxima, u = sums, k = shares, g = greatest, r = Rescale)
        fixed (float* unit = _units, lowUnit = _lowUnits)
        fixed (byte* w = _weights, low = _lowWeights)
        fixed (long* o = _lowOffsets)
        {
            var spread = ByteTurning.Scales(groups, k, keys, g);
            LowRows = kernels.Weigh(new ByteWeights
            {
                Scores = s,
                ScoreBytes = keyScales[0].Length * sizeof(float),
                Maxima = m,
                Sums = u,
                KeyScales = k,
                GroupScales = g,
                Groups = groups,
                Weights = w,
                Units = unit,
                Rescale = r,
                LowWeights = low,
                LowUnits = lowUnit,
                LowOffsets = o,
                SumOffset = 1000,
                SumStrideBytes = 10,
                Scale = scale,
                Spread = spread,
            });
            return spread;
        }
    }

    internal void AssertHead(int head, ByteOracle.Rounded expected, int low, int width)
    {
        for (var group = 0; group < groups; group++)
        {
            var unit = _units[(group * ByteRows.Count) + head];
            var weights = _weights.AsSpan((group * ByteRows.GroupBytes) + (head * ByteRows.Bytes), width).ToArray()
                .Select(weight => (int)weight).ToArray();
            if (low >= 0)
            {
                var lower = _lowWeights.AsSpan((group * ByteRows.GroupBytes) + (low * ByteRows.Bytes), width);
                for (var key = 0; key < width; key++)
                {
                    weights[key] = (256 * weights[key]) + lower[key];
                }

                unit /= 256;
                Assert.That(_lowUnits[(group * ByteRows.Count) + low], Is.EqualTo(unit));
                Assert.That(_lowOffsets[low], Is.EqualTo(1000 + (10 * head)));
            }

            Assert.That(unit, Is.EqualTo(expected.Units[group]), $"head {head}, group {group}");
            Assert.That(weights, Is.EqualTo(expected.Weights[group]), $"head {head}, group {group}");
        }
    }
}
