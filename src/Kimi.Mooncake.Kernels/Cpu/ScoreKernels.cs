using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Inner products of queries with keys that lie row by row, as the cache has them. An element's bits do not depend on
/// the queries and keys around it.
/// </summary>
internal static unsafe class ScoreKernels
{
    private const int Side = 4;
    private const int Lanes = MicroKernels.Lanes;

    /// <summary><c>scores[h][p] = queries[h] . keys[p]</c>.</summary>
    /// <param name="queries">Rows of <paramref name="length"/> values, without gaps.</param>
    /// <param name="queryCount">Number of queries.</param>
    /// <param name="keys">Rows of <paramref name="length"/> values, without gaps.</param>
    /// <param name="keyCount">Number of keys.</param>
    /// <param name="length">Values of a row, a multiple of 16.</param>
    /// <param name="scores">Result.</param>
    /// <param name="scoreStride">Values from one query's scores to the next one's.</param>
    internal static void Score(
        float* queries, int queryCount, float* keys, int keyCount, int length, float* scores, long scoreStride)
    {
        for (var key = 0; key < keyCount; key += Side)
        {
            var lastKey = Math.Min(Side, keyCount - key) - 1;
            if (queryCount == 1)
            {
                Score1By4(queries, keys + ((long)key * length), lastKey, length, scores + key);
                continue;
            }

            for (var query = 0; query < queryCount; query += Side)
            {
                var lastQuery = Math.Min(Side, queryCount - query) - 1;
                Score4By4(
                    queries + ((long)query * length), lastQuery, keys + ((long)key * length), lastKey, length,
                    scores + (query * scoreStride) + key, scoreStride);
            }
        }
    }

    /// <summary>One query by four keys; missing keys repeat the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score1By4(float* query, float* keys, int lastKey, int length, float* scores)
    {
        int k1 = Math.Min(1, lastKey), k2 = Math.Min(2, lastKey), k3 = Math.Min(Side - 1, lastKey);
        float* y0 = keys, y1 = keys + (k1 * length), y2 = keys + (k2 * length), y3 = keys + (k3 * length);
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (var i = 0L; i < length; i += Lanes)
        {
            var u = Load(query + i);
            s0 = Fma(u, Load(y0 + i), s0);
            s1 = Fma(u, Load(y1 + i), s1);
            s2 = Fma(u, Load(y2 + i), s2);
            s3 = Fma(u, Load(y3 + i), s3);
        }

        Store(scores, k1, k2, k3, s0, s1, s2, s3);
    }

    /// <summary>Four queries by four keys; missing ones repeat the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score4By4(
        float* queries, int lastQuery, float* keys, int lastKey, int length, float* scores, long scoreStride)
    {
        int q1 = Math.Min(1, lastQuery), q2 = Math.Min(2, lastQuery), q3 = Math.Min(Side - 1, lastQuery);
        int k1 = Math.Min(1, lastKey), k2 = Math.Min(2, lastKey), k3 = Math.Min(Side - 1, lastKey);
        float* x0 = queries, x1 = queries + (q1 * length), x2 = queries + (q2 * length), x3 = queries + (q3 * length);
        float* y0 = keys, y1 = keys + (k1 * length), y2 = keys + (k2 * length), y3 = keys + (k3 * length);
        Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default;
        Vector512<float> s10 = default, s11 = default, s12 = default, s13 = default;
        Vector512<float> s20 = default, s21 = default, s22 = default, s23 = default;
        Vector512<float> s30 = default, s31 = default, s32 = default, s33 = default;
        for (var i = 0L; i < length; i += Lanes)
        {
            Vector512<float> v0 = Load(y0 + i), v1 = Load(y1 + i), v2 = Load(y2 + i), v3 = Load(y3 + i);
            var u = Load(x0 + i);
            s00 = Fma(u, v0, s00); s01 = Fma(u, v1, s01); s02 = Fma(u, v2, s02); s03 = Fma(u, v3, s03);
            u = Load(x1 + i);
            s10 = Fma(u, v0, s10); s11 = Fma(u, v1, s11); s12 = Fma(u, v2, s12); s13 = Fma(u, v3, s13);
            u = Load(x2 + i);
            s20 = Fma(u, v0, s20); s21 = Fma(u, v1, s21); s22 = Fma(u, v2, s22); s23 = Fma(u, v3, s23);
            u = Load(x3 + i);
            s30 = Fma(u, v0, s30); s31 = Fma(u, v1, s31); s32 = Fma(u, v2, s32); s33 = Fma(u, v3, s33);
        }

        // Repeated rows and columns store the same bits twice.
        Store(scores + (q3 * scoreStride), k1, k2, k3, s30, s31, s32, s33);
        Store(scores + (q2 * scoreStride), k1, k2, k3, s20, s21, s22, s23);
        Store(scores + (q1 * scoreStride), k1, k2, k3, s10, s11, s12, s13);
        Store(scores, k1, k2, k3, s00, s01, s02, s03);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(
        float* row, int k1, int k2, int k3,
        Vector512<float> s0, Vector512<float> s1, Vector512<float> s2, Vector512<float> s3)
    {
        row[k3] = VectorMath.Sum(s3);
        row[k2] = VectorMath.Sum(s2);
        row[k1] = VectorMath.Sum(s1);
        row[0] = VectorMath.Sum(s0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Load(float* from) => Vector512.Load(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Fma(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        Vector512.FusedMultiplyAdd(a, b, c);
}
