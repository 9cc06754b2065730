using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// Bytes that look like KV: normally distributed 32-bit values, which compress a little, as real ones do.
/// </summary>
internal static class KvNoise
{
    private const int PoolValues = 1 << 20;

    /// <summary>Fills blocks; no two are equal.</summary>
    public static void Fill(IEnumerable<byte[]> blocks, Random random)
    {
        var pool = new float[PoolValues];
        for (var i = 0; i < pool.Length; i++)
        {
            pool[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) *
                Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        foreach (var block in blocks)
        {
            var values = MemoryMarshal.Cast<byte, float>(block.AsSpan());
            while (!values.IsEmpty)
            {
                var from = random.Next(PoolValues / 2);
                var part = Math.Min(values.Length, PoolValues - from);
                pool.AsSpan(from, part).CopyTo(values);
                values = values[part..];
            }
        }
    }
}
