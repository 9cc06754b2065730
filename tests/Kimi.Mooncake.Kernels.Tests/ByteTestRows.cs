using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Rows as a pool stores them, and a pad.</summary>
internal sealed unsafe class ByteTestRows
{
    private readonly KvLayout _layout;

    internal ByteTestRows(KvLayout layout, float[][] values)
    {
        (_layout, Values) = (layout, values);
        Bytes = new byte[(values.Length * layout.BytesPerTokenAndLayer) + 64];
        for (var row = 0; row < values.Length; row++)
        {
            fixed (float* from = values[row])
            fixed (byte* to = Bytes)
            {
                KvRows.FromSingle(layout, from, to + (row * layout.BytesPerTokenAndLayer));
            }
        }
    }

    internal float[][] Values { get; }

    internal byte[] Bytes { get; }

    internal int Count => Values.Length;

    internal ReadOnlySpan<float> Scales(int row) =>
        MemoryMarshal.Cast<byte, float>(Row(row)[..(_layout.Q8Groups * sizeof(float))]);

    internal ReadOnlySpan<ushort> Rope(int row) => MemoryMarshal.Cast<byte, ushort>(
        Row(row).Slice(_layout.Q8Groups * sizeof(float), _layout.RopeDimension * sizeof(ushort)));

    internal ReadOnlySpan<sbyte> Latent(int row) => MemoryMarshal.Cast<byte, sbyte>(Row(row).Slice(
        (_layout.Q8Groups * sizeof(float)) + (_layout.RopeDimension * sizeof(ushort)), _layout.LatentRank));

    private ReadOnlySpan<byte> Row(int row) =>
        Bytes.AsSpan(row * _layout.BytesPerTokenAndLayer, _layout.BytesPerTokenAndLayer);
}
