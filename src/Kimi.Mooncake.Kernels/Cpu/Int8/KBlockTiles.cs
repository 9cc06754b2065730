using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Sixteen outputs of a tile from types with blocks of 256 values, which are eight of the tile's.</summary>
internal static unsafe class KBlockTiles
{
    private const int Parts = 8;
    private const int BlockBytes = WeightTile.SecondAt + WeightTile.ScaleBytes;
    private const int UpperGroups = 4 * WeightTile.GroupBytes;
    private const int SecondAt = WeightTile.ScaleBytes;

    /// <summary>scale, scale of minima, scales and minima[12], values[128].</summary>
    /// <param name="rows">Stored rows.</param>
    /// <param name="blocks">Blocks of 32, a multiple of 8.</param>
    /// <param name="bytes">Receives the bytes of the first block.</param>
    /// <param name="scales">Receives its scales.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q4(in TileRows rows, int blocks, byte* bytes, byte* scales)
    {
        for (var block = 0; block < blocks; block += Parts)
        {
            var at = block / Parts * 144;
            ScalesAndMinima(rows.Columns(at), scales, BlockBytes, SecondAt);
            for (var pair = 0; pair < 4; pair++)
            {
                rows.Fetch(block + (2 * pair), 2, at + (pair * 36), 36);
                for (var half = 0; half < 2; half++)
                {
                    var words = rows.Columns(at + 16 + (pair * 32) + (half * 16));
                    words.Low().Store(bytes + (half * UpperGroups));
                    words.High().Store(bytes + BlockBytes + (half * UpperGroups));
                }

                bytes += 2 * BlockBytes;
            }

            scales += Parts * BlockBytes;
        }
    }

    /// <summary>scale, scale of minima, scales and minima[12], high bits[32], low bits[128].</summary>
    /// <inheritdoc cref="Q4"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q5(in TileRows rows, int blocks, byte* bytes, byte* scales)
    {
        for (var block = 0; block < blocks; block += Parts)
        {
            var at = block / Parts * 176;
            ScalesAndMinima(rows.Columns(at), scales, BlockBytes, SecondAt);
            for (var half = 0; half < 2; half++)
            {
                var high = rows.Columns(at + 16 + (half * 16));
                var target = bytes + (half * UpperGroups);
                for (var pair = 0; pair < 4; pair++)
                {
                    rows.Fetch(block + pair + (4 * half), 1, at + ((pair + (4 * half)) * 22), 22);
                    var words = rows.Columns(at + 48 + (pair * 32) + (half * 16));
                    words.Low().Or(high.Bits(2 * pair, 0x01010101).Up(4)).Store(target);
                    words.High().Or(high.Bits((2 * pair) + 1, 0x01010101).Up(4)).Store(target + BlockBytes);
                    target += 2 * BlockBytes;
                }
            }

            bytes += Parts * BlockBytes;
            scales += Parts * BlockBytes;
        }
    }

    /// <summary>low bits[128], high bits[64], scales[16], scale.</summary>
    /// <inheritdoc cref="Q4"/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Q6(in TileRows rows, int blocks, byte* bytes, byte* scales)
    {
        for (var block = 0; block < blocks; block += Parts)
        {
            var at = block / Parts * 210;
            for (var part = 0; part < 4; part++)
            {
                rows.Fetch(block + (2 * part), 2, at + (part * 53), part == 3 ? 51 : 53);

                // Part: which 128 values, and which 16 of each 32 of them.
                var (upper, half) = (part >> 1, part & 1);
                var high = rows.Columns(at + 128 + (upper * 32) + (half * 16));
                var first = rows.Columns(at + (upper * 64) + (half * 16));
                var second = rows.Columns(at + (upper * 64) + 32 + (half * 16));
                var target = bytes + (upper * 4 * BlockBytes) + (half * UpperGroups);
                first.Low().Or(high.Bits(0, 0x03030303).Up(4)).Store(target);
                second.Low().Or(high.Bits(2, 0x03030303).Up(4)).Store(target + BlockBytes);
                first.High().Or(high.Bits(4, 0x03030303).Up(4)).Store(target + (2 * BlockBytes));
                second.High().Or(high.Bits(6, 0x03030303).Up(4)).Store(target + (3 * BlockBytes));
            }

            HalfScales(rows, at, scales);
            bytes += Parts * BlockBytes;
            scales += Parts * BlockBytes;
        }
    }

    /// <summary>Eight scales and minima of 6 bits from the 16 bytes that begin a block of Q4_K or Q5_K.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScalesAndMinima(in WordColumns header, byte* target, int blockBytes, int minimumAt)
    {
        var scale = TileScales.Singles(header.W0 & Vector512.Create(0xffffu));
        var minimum = TileScales.Singles(header.W0 >>> 16);
        var (six, four, two) = (
            Vector512.Create(0x3f3f3f3fu), Vector512.Create(0x0f0f0f0fu), Vector512.Create(0x30303030u));
        var factors = header.W1 & six;
        var minima = header.W2 & six;
        var upperFactors = (header.W3 & four) | ((header.W1 >>> 2) & two);
        var upperMinima = ((header.W3 >>> 4) & four) | ((header.W2 >>> 2) & two);
        Four(factors, scale, target, blockBytes);
        Four(minima, minimum, target + minimumAt, blockBytes);
        Four(upperFactors, scale, target + (4 * blockBytes), blockBytes);
        Four(upperMinima, minimum, target + (4 * blockBytes) + minimumAt, blockBytes);
    }

    /// <summary>The bytes of words, each times a scale, for four blocks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(Vector512<uint> bytes, Vector512<float> scale, byte* target, int blockBytes)
    {
        for (var i = 0; i < 4; i++)
        {
            var one = ((bytes >>> (8 * i)) & Vector512.Create(0xffu)).AsInt32();
            (Vector512.ConvertToSingle(one) * scale).Store((float*)(target + (i * blockBytes)));
        }
    }

    /// <summary>Sixteen signed scales, two for each block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void HalfScales(in TileRows rows, int at, byte* target)
    {
        // The last word's upper part is the last of what is stored.
        var scale = TileScales.Singles(rows.Columns(at + 194).W3 >>> 16);
        var words = rows.Columns(at + 192);
        FourHalves(words.W0, scale, target);
        FourHalves(words.W1, scale, target + (2 * BlockBytes));
        FourHalves(words.W2, scale, target + (4 * BlockBytes));
        FourHalves(words.W3, scale, target + (6 * BlockBytes));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourHalves(Vector512<uint> bytes, Vector512<float> scale, byte* target)
    {
        for (var i = 0; i < 4; i++)
        {
            var one = (bytes << (24 - (8 * i))).AsInt32() >> 24;
            (Vector512.ConvertToSingle(one) * scale)
                .Store((float*)(target + (i / 2 * BlockBytes) + (i % 2 * SecondAt)));
        }
    }
}
