using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>
/// Compares a kernel with the portable one, bit for bit, before anything relies on it: all kinds of tiles, all numbers
/// of rows, random and extreme values.
/// </summary>
internal static unsafe class AmxSelfTest
{
    private const int RowsMost = 83; // Four tiles, one, and a part of one.
    private const int InputStride = WeightTile.BlocksMax * WeightTile.BlockValues;
    private const int ResultStride = WeightTile.Outputs + 3;
    private const int Seed = 20;
    private const int LeastCode = 0;

    private static readonly (TileFormat Format, int MostCode)[] Formats =
    [
        (new(TileKind.Plain, 7), 255), (new(TileKind.Plain, 4), 31), (new(TileKind.Plain, 3), 15),
        (new(TileKind.Minimum, 0), 31), (new(TileKind.Halves, 5), 63),
    ];

    /// <summary>Tests the kernel of each form.</summary>
    /// <param name="kernelFor">Gives the kernel.</param>
    /// <param name="rows">Numbers of rows; 7 to 32 and a few above where nothing is said.</param>
    /// <returns>Nothing if all bits agree, or where they first do not.</returns>
    internal static string? Run(Func<TileFormat, Int8Kernel> kernelFor, params int[] rows)
    {
        int[] tested = rows.Length > 0 ? rows : [.. Enumerable.Range(7, 26), 67, RowsMost];
        foreach (var (format, mostCode) in Formats)
        {
            var kernel = kernelFor(format);
            var portable = new PortableInt8(format);
            for (var i = 0; i < tested.Length; i++)
            {
                var blocks = 1 + (i * 7 % WeightTile.BlocksMax);
                using var operands = new Operands(format, mostCode, tested[i], blocks, Seed + i);
                var difference = operands.Compare(kernel, portable);
                if (difference is not null)
                {
                    return $"{format.Kind} tiles with zero {1 << format.ZeroShift}, {tested[i]} rows, "
                        + $"{blocks} blocks: {difference}";
                }
            }
        }

        return null;
    }

    /// <summary>A tile and rows. The first rows and outputs have only the greatest or the least codes.</summary>
    private sealed class Operands : IDisposable
    {
        private readonly int _rows;
        private readonly int _blocks;
        private readonly int _sums;
        private readonly byte* _memory;
        private readonly float* _expected;
        private readonly float* _actual;
        private Int8Run _run;

        internal Operands(TileFormat format, int mostCode, int rows, int blocks, int seed)
        {
            (_rows, _blocks) = (rows, blocks);
            _sums = format.Kind == TileKind.Halves ? 2 : 1;
            var resultBytes = rows * ResultStride * sizeof(float);
            var inputBytes = rows * InputStride;
            var blockBytes = rows * WeightTile.BlocksMax * sizeof(float);
            _memory = (byte*)NativeMemory.AlignedAlloc(
                (nuint)(WeightTile.BytesMax + inputBytes + (4 * blockBytes) + (2 * resultBytes)), 64);
            _run = new Int8Run
            {
                Tile = _memory,
                X = (sbyte*)(_memory + WeightTile.BytesMax),
                XStride = InputStride,
                Blocks = blocks,
                Rows = rows,
                BlockStride = WeightTile.BlocksMax * sizeof(float),
                YStride = ResultStride * sizeof(float),
            };
            _run.Scales = (float*)((byte*)_run.X + inputBytes);
            _run.ScaledSums = (float*)((byte*)_run.Scales + blockBytes);
            _run.Sums = (int*)((byte*)_run.ScaledSums + blockBytes);
            _expected = (float*)((byte*)_run.Sums + (2 * blockBytes));
            _actual = (float*)((byte*)_expected + resultBytes);
            var random = new Random(seed);
            FillTile(random, format, mostCode);
            FillRows(random);
        }

        public void Dispose() => NativeMemory.AlignedFree(_memory);

        /// <summary>The whole run, then added to, as a later run of the same rows would be.</summary>
        internal string? Compare(Int8Kernel kernel, Int8Kernel portable)
        {
            var values = _rows * ResultStride;
            new Span<float>(_expected, 2 * values).Clear();
            for (var accumulate = 0; accumulate < 2; accumulate++)
            {
                _run.Accumulate = accumulate;
                _run.Y = _expected;
                portable.Multiply(_run);
                _run.Y = _actual;
                kernel.Multiply(_run);
                for (var i = 0; i < values; i++)
                {
                    if (BitConverter.SingleToUInt32Bits(_actual[i]) != BitConverter.SingleToUInt32Bits(_expected[i]))
                    {
                        return $"row {i / ResultStride}, output {i % ResultStride} is {_actual[i]:r}, "
                            + $"expected {_expected[i]:r}";
                    }
                }
            }

            return null;
        }

        private void FillTile(Random random, TileFormat format, int mostCode)
        {
            for (var block = 0; block < _blocks; block++)
            {
                var at = _run.Tile + (block * format.BlockBytes);
                for (var i = 0; i < WeightTile.ScalesAt; i++)
                {
                    at[i] = (i % WeightTile.GroupBytes / sizeof(int)) switch
                    {
                        0 => (byte)mostCode,
                        1 => LeastCode,
                        _ => (byte)random.Next(LeastCode, mostCode + 1),
                    };
                }

                for (var i = WeightTile.ScalesAt; i < format.BlockBytes; i += sizeof(float))
                {
                    Unsafe.WriteUnaligned(at + i, NextScale(random));
                }
            }
        }

        private void FillRows(Random random)
        {
            for (var row = 0; row < _rows; row++)
            {
                for (var block = 0; block < WeightTile.BlocksMax; block++)
                {
                    var inputs = new Span<sbyte>(
                        _run.X + (row * InputStride) + (block * WeightTile.BlockValues), WeightTile.BlockValues);
                    foreach (ref var input in inputs)
                    {
                        input = row switch
                        {
                            0 => sbyte.MaxValue,
                            1 => -sbyte.MaxValue,
                            _ => (sbyte)random.Next(-sbyte.MaxValue, sbyte.MaxValue + 1),
                        };
                    }

                    var at = (row * WeightTile.BlocksMax) + block;
                    _run.Scales[at] = MathF.Abs(NextScale(random));
                    _run.ScaledSums[at] = _run.Scales[at] * -Sum(inputs);
                    var half = WeightTile.BlockValues / _sums;
                    for (var part = 0; part < _sums; part++)
                    {
                        _run.Sums[(at * _sums) + part] = -Sum(inputs.Slice(part * half, half));
                    }
                }
            }
        }

        private static int Sum(ReadOnlySpan<sbyte> inputs)
        {
            var sum = 0;
            foreach (var input in inputs)
            {
                sum += input;
            }

            return sum;
        }

        /// <summary>Mostly ordinary; zeros, numbers below the normal ones, and large ones that stay finite.</summary>
        private static float NextScale(Random random) => random.Next(16) switch
        {
            0 => 0,
            1 => float.Epsilon * random.Next(1, 1 << 20),
            2 => 1e14f * random.NextSingle(),
            _ => random.NextSingle() - 0.5f,
        };
    }
}
