using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <content>Scales that are a tensor of their own: a table of singles, made before or 8 blocks at a time.</content>
internal sealed partial class ByteStreamRoutine
{
    /// <summary>Blocks whose scales are turned together: 16 bytes of each stored row.</summary>
    internal const int TableBlocks = 8;

    /// <summary>The block's scales.</summary>
    internal static AssemblerMemoryOperand TableRow() => Table + 0;

    /// <summary>Takes a block's scales from what the table has; where nothing is left, of 8 blocks more.</summary>
    /// <remarks>
    /// Fewer than 8 at a row's end are the last of the row's last 8, so that nothing behind it is read.
    /// </remarks>
    private void RefillTable()
    {
        var filled = _c.CreateLabel();
        var left = __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.TableLeft))];
        var from = __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.OwnScales))];
        var stored = __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.StoredKept))];
        _c.dec(left);
        _c.jns(filled);
        _c.mov(stored, Stored);
        _c.mov(Table, TableBlocks);
        Load(_c, Quad, nameof(ByteStream.BlocksLeft));
        _c.cmp(Quad, Table);
        _c.cmovb(Table, Quad);
        _c.lea(Quad, __[Table - 1]);
        _c.mov(left, Quad);
        _c.mov(Stored, from);
        _c.lea(Stored, __[Stored + (Table * sizeof(ushort)) - (TableBlocks * sizeof(ushort))]);
        _c.neg(Table);
        _c.shl(Table, 6);
        _c.lea(Table, __[RoutineFrame.Argument + Table + (KeptAt + (TableBlocks * LineBytes))]);
        Load(_c, Stride, nameof(ByteStream.OwnScalesStride));
        _c.lea(Stride3, __[Stride + (Stride * 2)]);
        _asksNothing = true;
        _block.WriteTable();
        _asksNothing = false;
        _c.lea(Quad, __[Stored + (TableBlocks * sizeof(ushort))]);
        _c.mov(from, Quad);
        _c.mov(Stored, stored);
        Load(_c, Stride, nameof(ByteStream.StoredStride));
        _c.lea(Stride3, __[Stride + (Stride * 2)]);
        _c.Label(ref filled);
    }

    private void AdvanceTable()
    {
        // Halves for 16 rows: a line for two blocks.
        var ahead = __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.TableAhead))];
        _c.add(Table, LineBytes);
        _c.mov(Quad, ahead);
        _c.prefetcht0(__byte_ptr[Quad]);
        _c.add(ahead, StoredRows * sizeof(ushort));
    }

    /// <summary>From the end of a row's scales to the group that comes next.</summary>
    private void EndGroupOfScales()
    {
        var from = __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.OwnScales))];
        Load(_c, Quad, nameof(ByteStream.OwnScalesStride));
        _c.shl(Quad, 4);
        _c.add(from, Quad);
        Load(_c, Quad, nameof(ByteStream.Blocks));
        _c.add(Quad, Quad);
        _c.sub(from, Quad);
    }
}
