using System.Buffers.Binary;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>The 64 bytes that say how large each of the eight tile registers is.</summary>
/// <remarks>
/// Byte 0 the palette, byte 1 the row to resume at, 16-bit bytes per row from byte 16, rows from byte 48; all other
/// bytes are zeros. A register with no rows does not exist.
/// </remarks>
internal static class TileConfiguration
{
    internal const int SizeBytes = 64;
    internal const int Palette = 1;
    internal const int Tiles = 8;
    internal const int RowsMax = 16;
    internal const int RowBytesMax = 64;
    internal const int ColumnBytesOffset = 16;
    internal const int RowsOffset = 48;

    /// <summary>Registers of a product: two sums, two of inputs, two of weights.</summary>
    /// <param name="target">Receives the <see cref="SizeBytes"/> bytes.</param>
    /// <param name="rows">Rows of inputs, 1 to 16.</param>
    /// <param name="depth">Values of a row that are multiplied at once, a multiple of 4 up to 64.</param>
    internal static void Write(Span<byte> target, int rows, int depth)
    {
        target[..SizeBytes].Clear();
        target[0] = Palette;
        for (var i = 0; i < 2; i++)
        {
            WriteTile(target, AmxAssembly.SumTile + i, rows, RowBytesMax);
            WriteTile(target, AmxAssembly.InputTile + i, rows, depth);
            WriteTile(target, AmxAssembly.WeightTile + i, depth / sizeof(int), RowBytesMax);
        }
    }

    private static void WriteTile(Span<byte> target, int tile, int rows, int rowBytes)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(
            target[(ColumnBytesOffset + (tile * sizeof(ushort)))..], (ushort)rowBytes);
        target[RowsOffset + tile] = (byte)rows;
    }
}
