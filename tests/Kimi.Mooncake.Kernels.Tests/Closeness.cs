using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Comparison of kernel results.</summary>
internal static class Closeness
{
    /// <summary>Largest difference over the expected matrix's largest magnitude; infinite where not finite.</summary>
    internal static double RelativeError(in MatrixView actual, in MatrixView expected)
    {
        var magnitude = 1e-30;
        var difference = 0.0;
        for (var row = 0; row < expected.Rows; row++)
        {
            var a = actual.Row(row);
            var e = expected.Row(row);
            for (var i = 0; i < e.Length; i++)
            {
                if (!float.IsFinite(a[i]) || !float.IsFinite(e[i]))
                {
                    return double.PositiveInfinity;
                }

                magnitude = Math.Max(magnitude, Math.Abs(e[i]));
                difference = Math.Max(difference, Math.Abs((double)a[i] - e[i]));
            }
        }

        return difference / magnitude;
    }

    internal static bool SameBits(ReadOnlySpan<float> a, ReadOnlySpan<float> b) =>
        MemoryMarshal.AsBytes(a).SequenceEqual(MemoryMarshal.AsBytes(b));

    /// <summary>The first row that differs in any bit, or -1.</summary>
    internal static int FirstDifferentRow(in MatrixView a, in MatrixView b)
    {
        for (var row = 0; row < a.Rows; row++)
        {
            if (!SameBits(a.Row(row), b.Row(row)))
            {
                return row;
            }
        }

        return -1;
    }
}
