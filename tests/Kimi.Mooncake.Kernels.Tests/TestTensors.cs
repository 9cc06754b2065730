using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Seeded inputs of kernels. Owns everything it hands out.</summary>
internal sealed class TestTensors(int seed) : IDisposable
{
    private readonly Random _random = new(seed);
    private readonly Stack<IDisposable> _owned = new();

    internal int Next(int minimum, int maximumInclusive) => _random.Next(minimum, maximumInclusive + 1);

    internal float NextValue() => (_random.NextSingle() * 2) - 1;

    internal T Own<T>(T resource)
        where T : IDisposable
    {
        _owned.Push(resource);
        return resource;
    }

    internal Matrix Matrix(int rows, int columns, float scale = 1)
    {
        var matrix = Own(new Matrix(rows, columns));
        for (var row = 0; row < rows; row++)
        {
            foreach (ref var value in matrix.All.Row(row))
            {
                value = NextValue() * scale;
            }
        }

        return matrix;
    }

    internal Matrix Copy(Matrix source)
    {
        var copy = Own(new Matrix(source.Rows, source.Columns));
        for (var row = 0; row < source.Rows; row++)
        {
            source.All.Row(row).CopyTo(copy.All.Row(row));
        }

        return copy;
    }

    internal TensorData Tensor(int rows, int columns, float scale = 1) =>
        Tensor([.. Enumerable.Range(0, rows * columns).Select(_ => NextValue() * scale)], rows, columns);

    internal TensorData Tensor(float[] values, int rows, int columns)
    {
        var buffer = Own(new NativeBuffer((long)values.Length * sizeof(float)));
        MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(buffer.Span(0, values.Length * sizeof(float)));
        return buffer.Tensor(0, TensorType.F32, rows, columns);
    }

    /// <summary>Random values rounded to what a type stores.</summary>
    internal TensorData Rounded(TensorType type, int rows, int columns, float scale = 1)
    {
        var buffer = Own(new NativeBuffer(TensorData.SizeBytes(type, rows, columns)));
        var values = new float[columns];
        var rowBytes = (int)TensorTypes.RowBytes(type, columns);
        for (var row = 0; row < rows; row++)
        {
            foreach (ref var value in values.AsSpan())
            {
                value = NextValue() * scale;
            }

            TensorEncoder.EncodeRow(type, values, buffer.Span((long)row * rowBytes, rowBytes));
        }

        return buffer.Tensor(0, type, rows, columns);
    }

    /// <summary>Random bytes as a stored matrix of any type; its scales are finite, so that all values are.</summary>
    internal TensorData Stored(TensorType type, int rows, int columns)
    {
        if (type == TensorType.F32)
        {
            return Tensor(rows, columns);
        }

        var sizeBytes = checked((int)TensorData.SizeBytes(type, rows, columns));
        var buffer = Own(new NativeBuffer(sizeBytes));
        var bytes = buffer.Span(0, sizeBytes);
        _random.NextBytes(bytes);
        foreach (var at in FiniteBytes(type))
        {
            for (var i = at; i < bytes.Length; i += TensorTypes.BlockBytes(type))
            {
                bytes[i] &= 0xbf;
            }
        }

        if (type == TensorType.MXFP4)
        {
            for (var i = 0; i < bytes.Length; i += TensorTypes.BlockBytes(type))
            {
                bytes[i] = (byte)Next(110, 130);
            }
        }

        var data = buffer.Tensor(0, type, rows, columns);
        return type switch
        {
            TensorType.Int4Group32 => TensorData.PackedInt4(data, Stored(TensorType.BF16, rows, columns / 32)),
            TensorType.F8E4M3 => TensorData.WithBlockScales(
                Finite(data, bytes), Tensor((rows + 127) / 128, (columns + 127) / 128), 128, 128),
            _ => data,
        };
    }

    /// <summary>The upper bytes of halves and brain floats, by their place in a block.</summary>
    private static int[] FiniteBytes(TensorType type) => type switch
    {
        TensorType.F16 or TensorType.BF16 or TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q5_0 => [1],
        TensorType.Q4_1 or TensorType.Q5_1 or TensorType.Q4_K or TensorType.Q5_K => [1, 3],
        TensorType.Q2_K => [81, 83],
        TensorType.Q3_K => [109],
        TensorType.Q6_K => [209],
        _ => [],
    };

    private static TensorData Finite(TensorData data, Span<byte> bytes)
    {
        foreach (ref var value in bytes)
        {
            value = (value & 0x7f) == 0x7f ? (byte)0 : value;
        }

        return data;
    }

    internal AttentionProjections UpProjections(AttentionShape shape)
    {
        var scale = 1 / MathF.Sqrt(shape.LatentRank);
        return AttentionProjections.FromSplit(
            shape,
            Tensor(shape.HeadCount * shape.LatentRank, shape.NopeDimension, scale),
            Tensor(shape.HeadCount * shape.ValueDimension, shape.LatentRank, scale));
    }

    /// <summary>A pool whose unwritten memory is NaN, with a shuffled table of the first positions written.</summary>
    internal (PagedKvMemory Pool, int[] Table) Pool(
        AttentionShape shape, int positions, int blockTokens = 16, int layers = 2, int spareBlocks = 3,
        KvElementType type = KvElementType.F32)
    {
        var layout = new KvLayout(type, layers, shape.LatentRank, shape.RopeDimension, blockTokens);
        var blocks = (positions + blockTokens - 1) / blockTokens;
        var pool = Own(new PagedKvMemory(layout, blocks + spareBlocks));
        var ids = Enumerable.Range(0, blocks + spareBlocks).ToArray();
        _random.Shuffle(ids);
        for (var block = 0; block < pool.BlockCount; block++)
        {
            Poison(pool, block);
        }

        var table = ids[..blocks];
        var values = new float[layout.ValuesPerTokenAndLayer];
        for (var position = 0; position < positions; position++)
        {
            for (var layer = 0; layer < layers; layer++)
            {
                foreach (ref var value in values.AsSpan())
                {
                    value = NextValue();
                }

                pool.Write(table[position / blockTokens], layer, position % blockTokens, values);
            }
        }

        return (pool, table);
    }

    /// <summary>The same decoded values in a pool of singles; what is unwritten there is NaN again.</summary>
    internal PagedKvMemory Singles(PagedKvMemory pool, int[] table, int positions)
    {
        var singles = Own(new PagedKvMemory(pool.Layout with { ElementType = KvElementType.F32 }, pool.BlockCount));
        for (var block = 0; block < pool.BlockCount; block++)
        {
            Poison(singles, block);
        }

        var values = new float[pool.Layout.ValuesPerTokenAndLayer];
        for (var position = 0; position < positions; position++)
        {
            var (block, token) = Math.DivRem(position, pool.Layout.BlockTokens);
            for (var layer = 0; layer < pool.Layout.LayerCount; layer++)
            {
                pool.Read(table[block], layer, token, values);
                singles.Write(table[block], layer, token, values);
            }
        }

        return singles;
    }

    /// <summary>Fills a block so that every value that it could hold is NaN.</summary>
    private static void Poison(PagedKvMemory pool, int block) => pool.Block(block).Fill(0xff);

    public void Dispose()
    {
        while (_owned.TryPop(out var resource))
        {
            resource.Dispose();
        }
    }
}
