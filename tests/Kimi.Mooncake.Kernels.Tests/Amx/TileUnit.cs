using System.Buffers.Binary;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>
/// Tile registers by the published definitions of their instructions: palette 1, eight registers of up to 16 rows of
/// 64 bytes. Whatever a definition forbids is a fault; so is a register of which only the rows or only the bytes are 0.
/// </summary>
internal sealed class TileUnit
{
    internal const int Count = 8;
    internal const int RowsMax = 16;
    internal const int RowBytes = 64;
    private const int ConfigurationBytes = 64;
    private const int ColumnsAt = 16;
    private const int ColumnsEnd = 32;
    private const int RowsAt = 48;
    private const int RowsEnd = 56;
    private const int Product = sizeof(int);

    private readonly byte[][] _data = [.. Enumerable.Range(0, Count).Select(_ => new byte[RowsMax * RowBytes])];
    private readonly int[] _rows = new int[Count];
    private readonly int[] _columnBytes = new int[Count];

    /// <summary>Whether a configuration is loaded: what makes switches between threads dear.</summary>
    internal bool IsConfigured { get; private set; }

    internal byte[] Data(int tile) => _data[tile];

    /// <summary>ldtilecfg.</summary>
    internal void Configure(ReadOnlySpan<byte> memory)
    {
        if (memory[0] == 0)
        {
            Release();
            return;
        }

        Require(memory[0] == 1, $"palette {memory[0]}");
        Require(memory[1] == 0, "a row to resume at: nothing here is ever interrupted");
        Require(IsZero(memory[2..ColumnsAt]) && IsZero(memory[ColumnsEnd..RowsAt])
            && IsZero(memory[RowsEnd..ConfigurationBytes]), "reserved bytes that are not 0");
        for (var tile = 0; tile < Count; tile++)
        {
            var columnBytes = BinaryPrimitives.ReadUInt16LittleEndian(memory[(ColumnsAt + (2 * tile))..]);
            var rows = memory[RowsAt + tile];
            Require(columnBytes <= RowBytes, $"tile {tile} with {columnBytes} bytes per row");
            Require(rows <= RowsMax, $"tile {tile} with {rows} rows");
            Require((rows == 0) == (columnBytes == 0), $"tile {tile}: {rows} rows of {columnBytes} bytes");
            (_rows[tile], _columnBytes[tile]) = (rows, columnBytes);
            _data[tile].AsSpan().Clear();
        }

        IsConfigured = true;
    }

    /// <summary>tilerelease.</summary>
    internal void Release()
    {
        IsConfigured = false;
        for (var tile = 0; tile < Count; tile++)
        {
            (_rows[tile], _columnBytes[tile]) = (0, 0);
            _data[tile].AsSpan().Clear();
        }
    }

    /// <summary>tilezero.</summary>
    internal void Zero(int tile)
    {
        RequireTile(tile);
        _data[tile].AsSpan().Clear();
    }

    /// <summary>tileloadd.</summary>
    internal unsafe void Load(int tile, MachineMemory memory, ulong address, ulong stride)
    {
        RequireTile(tile);
        _data[tile].AsSpan().Clear();
        for (var row = 0; row < _rows[tile]; row++)
        {
            var source = memory.Read(address + ((ulong)row * stride), _columnBytes[tile]);
            new ReadOnlySpan<byte>(source, _columnBytes[tile]).CopyTo(_data[tile].AsSpan(row * RowBytes));
        }
    }

    /// <summary>tilestored.</summary>
    internal unsafe void Store(int tile, MachineMemory memory, ulong address, ulong stride)
    {
        RequireTile(tile);
        for (var row = 0; row < _rows[tile]; row++)
        {
            var target = memory.Write(address + ((ulong)row * stride), _columnBytes[tile]);
            _data[tile].AsSpan(row * RowBytes, _columnBytes[tile]).CopyTo(new Span<byte>(target, _columnBytes[tile]));
        }
    }

    /// <summary>tdpbssd and tdpbusd: adds sums of four products of bytes, the right ones signed.</summary>
    internal void AddProducts(int target, int left, int right, bool isLeftSigned = true)
    {
        RequireProduct(target, left, right);
        var depth = _columnBytes[left];
        for (var m = 0; m < _rows[target]; m++)
        {
            var a = new int[depth];
            for (var k = 0; k < depth; k++)
            {
                a[k] = isLeftSigned ? (sbyte)_data[left][(m * RowBytes) + k] : _data[left][(m * RowBytes) + k];
            }

            var row = _data[target].AsSpan(m * RowBytes, RowBytes);
            for (var n = 0; n < _columnBytes[target]; n += Product)
            {
                var sum = BinaryPrimitives.ReadInt32LittleEndian(row[n..]);
                for (var k = 0; k < depth; k++)
                {
                    var at = (k / Product * RowBytes) + n + (k % Product);
                    sum = unchecked(sum + (a[k] * (sbyte)_data[right][at]));
                }

                BinaryPrimitives.WriteInt32LittleEndian(row[n..], sum);
            }
        }
    }

    /// <summary>
    /// tdpbf16ps, for values whose sums are exact in any order: which rounding comes first does not matter then.
    /// </summary>
    internal void AddExactBf16Products(int target, int left, int right)
    {
        RequireProduct(target, left, right);
        for (var m = 0; m < _rows[target]; m++)
        {
            var row = _data[target].AsSpan(m * RowBytes, RowBytes);
            for (var n = 0; n < _columnBytes[target]; n += Product)
            {
                var sum = BinaryPrimitives.ReadSingleLittleEndian(row[n..]);
                for (var k = 0; k < _columnBytes[left]; k += sizeof(ushort))
                {
                    var at = (k / Product * RowBytes) + n + (k % Product);
                    sum += Bf16(_data[left].AsSpan((m * RowBytes) + k)) * Bf16(_data[right].AsSpan(at));
                }

                BinaryPrimitives.WriteSingleLittleEndian(row[n..], sum);
            }
        }
    }

    private static float Bf16(ReadOnlySpan<byte> bytes) =>
        BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16);

    private void RequireProduct(int target, int left, int right)
    {
        RequireTile(target);
        RequireTile(left);
        RequireTile(right);
        RequireDefined(target != left && target != right && left != right, "the same tile twice");
        RequireDefined(_columnBytes[left] / Product == _rows[right], $"tiles {left} and {right}: depths differ");
        RequireDefined(_rows[target] == _rows[left], $"tiles {target} and {left}: rows differ");
        RequireDefined(_columnBytes[target] == _columnBytes[right], $"tiles {target} and {right}: columns differ");
    }

    private static bool IsZero(ReadOnlySpan<byte> bytes) => !bytes.ContainsAnyExcept((byte)0);

    private static void Require(bool condition, string what)
    {
        if (!condition)
        {
            throw MachineFaultException.Protection("tile configuration has " + what);
        }
    }

    private static void RequireDefined(bool condition, string what)
    {
        if (!condition)
        {
            throw MachineFaultException.Undefined(what);
        }
    }

    private void RequireTile(int tile)
    {
        RequireDefined(IsConfigured, "tiles are not configured");
        RequireDefined(_rows[tile] != 0 && _columnBytes[tile] != 0, $"tile {tile} is not configured");
    }
}
