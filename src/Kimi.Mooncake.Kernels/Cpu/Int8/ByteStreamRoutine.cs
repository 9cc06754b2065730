using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// Writes the product of 1 to 8 rows of bytes with 16 stored rows at a time: a block of each is turned in registers,
/// so that lanes are outputs, unpacked there and multiplied with every row. Weights go from memory to sums through
/// registers alone, and are unpacked once.
/// </summary>
/// <remarks>
/// Vectors: 0 to 15 are the block's (<see cref="StreamBlock"/>), then a sum for each row, which are free between
/// blocks, then a result for each row.
/// </remarks>
internal sealed partial class ByteStreamRoutine
{
    /// <summary>Stored rows of a group.</summary>
    internal const int StoredRows = 16;

    /// <summary>Most rows of inputs.</summary>
    internal const int RowsMax = 8;

    /// <summary>The first vector of sums.</summary>
    internal const int FirstSum = 16;

    /// <summary>Where the scales of a block of 256 inputs are kept, from the arguments on.</summary>
    internal const int KeptAt = 192;

    /// <summary>Bytes of the arguments and what is kept behind them.</summary>
    internal const int FrameBytes = KeptAt + (16 * LineBytes);

    private const int BlockValues = WeightTile.BlockValues;
    private const int LineBytes = 64;
    private const int FirstResult = FirstSum + RowsMax;
    private const int RowsOfQuad = 4;

    private static readonly AssemblerRegister64 Stored = rsi;
    private static readonly AssemblerRegister64 Quad = rax;
    private static readonly AssemblerRegister64 Stride = rdx;
    private static readonly AssemblerRegister64 Stride3 = rcx;
    private static readonly AssemblerRegister64 X = r8;
    private static readonly AssemblerRegister64 X1 = r9;
    private static readonly AssemblerRegister64[] BlockStrides = [r10, r11, r12, r13];
    private static readonly AssemblerRegister64 Scales = rbx;
    private static readonly AssemblerRegister64 Sums = rbp;
    private static readonly AssemblerRegister64 Ahead = r14;
    private static readonly AssemblerRegister64 Table = r15;

    private readonly Assembler _c;
    private readonly StreamBlock _block;
    private readonly int _rows;
    private readonly int _stepsOfBlock;
    private int _asked;
    private int _steps;
    private bool _asksNothing;

    private ByteStreamRoutine(Assembler c, TensorType type, int rows, int stepsOfBlock)
    {
        (_c, _rows, _stepsOfBlock) = (c, rows, stepsOfBlock);
        _block = StreamBlock.Of(type, this, c);
    }

    /// <summary>Lines that 16 stored blocks take, a part of one being one.</summary>
    private int BlockLines => ((_block.StoredBytes * StoredRows) + LineBytes - 1) / LineBytes;

    /// <summary>Writes the routine for a type and a number of rows, which takes a <see cref="ByteStream"/>.</summary>
    internal static void Write(Assembler c, TensorType type, int rows) =>
        new ByteStreamRoutine(c, type, rows, StepsOfBlock(type, rows)).Write();

    /// <summary>Where bytes of scales that are kept with the arguments are.</summary>
    internal static AssemblerMemoryOperand Kept(int vector) =>
        RoutineFrame.Argument + (KeptAt + (vector * LineBytes));

    /// <summary>Calls back with the places of four stored rows at a time, all 16 of them.</summary>
    internal void EachQuad(int offset, Action<int, AssemblerMemoryOperand[]> load)
    {
        for (var quad = 0; quad < StoredRows / RowsOfQuad; quad++)
        {
            var first = quad == 0 ? Stored : Quad;
            if (quad > 0)
            {
                _c.lea(Quad, __[(quad == 1 ? Stored : Quad) + (Stride * RowsOfQuad)]);
            }

            Ask();
            load(quad, RowsFrom(first, offset));
        }
    }

    /// <summary>Begins the sums of all rows: zeros, or the negated sum of inputs times a power of two.</summary>
    /// <param name="zeroShift">Logarithm of what stands for zero; 0 where nothing does.</param>
    /// <param name="part">Which 32 inputs of the block, or which 16 where those have sums of their own.</param>
    internal void BeginSums(int zeroShift, int part)
    {
        for (var row = 0; row < _rows; row++)
        {
            var sum = Sum(row);
            if (zeroShift == 0)
            {
                _c.vpxord(sum, sum, sum);
            }
            else
            {
                _c.vpslld(sum, __dword_bcst[SumOf(row, part)], (byte)zeroShift);
            }
        }
    }

    /// <summary>Adds the products of a vector of weights, four inputs of each output, with all rows.</summary>
    /// <param name="weights">Unsigned bytes.</param>
    /// <param name="word">Which four inputs of the block.</param>
    internal void Multiply(AssemblerRegisterZMM weights, int word)
    {
        for (var row = 0; row < _rows; row++)
        {
            _c.vpdpbusd(Sum(row), weights, __dword_bcst[InputOf(row) + (word * sizeof(int))]);
        }

        Ask();
    }

    /// <summary>Takes the sums up into the results.</summary>
    /// <param name="scale">Scales of the stored rows.</param>
    /// <param name="factor">A vector to work with.</param>
    /// <param name="part">Which 32 inputs of the block.</param>
    internal void AddSums(AssemblerRegisterZMM scale, AssemblerRegisterZMM factor, int part)
    {
        for (var row = 0; row < _rows; row++)
        {
            _c.vmulps(factor, scale, __dword_bcst[ScaleOf(row) + (part * sizeof(float))]);
            _c.vcvtdq2ps(Sum(row), Sum(row));
            _c.vfmadd231ps(Result(row), Sum(row), factor);
        }
    }

    /// <summary>Adds minima times the sums of inputs.</summary>
    internal void AddMinima(AssemblerRegisterZMM minima, int part)
    {
        for (var row = 0; row < _rows; row++)
        {
            _c.vfmadd231ps(Result(row), minima, __dword_bcst[SumOf(row, part)]);
        }
    }

    /// <summary>Counts the steps of a block by writing one that nobody runs.</summary>
    private static int StepsOfBlock(TensorType type, int rows)
    {
        var trial = new ByteStreamRoutine(new Assembler(64), type, rows, int.MaxValue);
        trial._block.Write();
        return trial._steps;
    }

    private static AssemblerMemoryOperand[] RowsFrom(AssemblerRegister64 first, int offset) =>
        [first + offset, first + Stride + offset, first + (Stride * 2) + offset, first + Stride3 + offset];

    private static AssemblerRegisterZMM Sum(int row) => RoutineFrame.Vector(FirstSum + row);

    private static AssemblerRegisterZMM Result(int row) => RoutineFrame.Vector(FirstResult + row);

    /// <summary>A row of inputs, whose stride is eight times that of the blocks.</summary>
    private static AssemblerMemoryOperand InputOf(int row) => row switch
    {
        0 => X + 0,
        1 => X1 + 0,
        _ => (row % 2 == 0 ? X1 : X) + (BlockStrides[(row - 1) / 2] * 8),
    };

    private static AssemblerMemoryOperand ScaleOf(int row) => OfRow(Scales, row, 1);

    private static AssemblerMemoryOperand OfRow(AssemblerRegister64 first, int row, int times) => row switch
    {
        0 => first + 0,
        2 or 4 => first + (BlockStrides[0] * (row * times)),
        6 => first + (BlockStrides[1] * (2 * times)),
        _ => first + (BlockStrides[row / 2] * times),
    };

    private AssemblerMemoryOperand SumOf(int row, int part) =>
        OfRow(Sums, row, _block.SumsOf32) + (part * sizeof(int));

    private static void Load(Assembler c, AssemblerRegister64 register, string member) =>
        RoutineFrame.Load<ByteStream>(c, register, member);

    private void Write()
    {
        var (nextGroup, nextBlock) = (_c.CreateLabel(), _c.CreateLabel());
        RoutineFrame.Enter(_c);
        Load(_c, Stride, nameof(ByteStream.StoredStride));
        _c.lea(Stride3, __[Stride + (Stride * 2)]);
        Load(_c, BlockStrides[0], nameof(ByteStream.BlockStride));
        RoutineFrame.OddMultiples(_c, BlockStrides);
        Load(_c, Stored, nameof(ByteStream.Stored));
        Load(_c, Table, nameof(ByteStream.Table));
        Load(_c, Ahead, nameof(ByteStream.Ahead));
        _block.Constants();

        _c.Label(ref nextGroup);
        BeginGroup();
        _c.Label(ref nextBlock);
        if (_block.HasTable)
        {
            RefillTable();
        }

        _block.Write();
        Advance();
        _c.dec(__qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.BlocksLeft))]);
        _c.jne(nextBlock);

        EndGroup();
        _c.dec(__qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.Groups))]);
        _c.jne(nextGroup);
        RoutineFrame.Leave(_c);
    }

    private void BeginGroup()
    {
        var within = _c.CreateLabel();
        _c.dec(__qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.AheadLeft))]);
        _c.jne(within);
        Load(_c, Ahead, nameof(ByteStream.Afterwards));
        _c.Label(ref within);
        Load(_c, X, nameof(ByteStream.X));
        _c.lea(X1, __[X + (BlockStrides[0] * 8)]);
        Load(_c, Scales, nameof(ByteStream.Scales));
        Load(_c, Sums, nameof(ByteStream.Sums));
        Load(_c, Quad, nameof(ByteStream.Blocks));
        _c.mov(__qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.BlocksLeft))], Quad);
        for (var row = 0; row < _rows; row++)
        {
            _c.vpxord(Result(row), Result(row), Result(row));
        }
    }

    private void Advance()
    {
        var parts = _block.Values / BlockValues;
        _c.add(Stored, _block.StoredBytes);
        _c.add(X, _block.Values);
        _c.add(X1, _block.Values);
        _c.add(Scales, parts * sizeof(float));
        _c.add(Sums, parts * _block.SumsOf32 * sizeof(int));
        _c.add(Ahead, _block.StoredBytes * StoredRows);
        if (_block.HasTable)
        {
            AdvanceTable();
        }
    }

    /// <summary>Results go out; the pointer has gone through its row, which ends where the next one begins.</summary>
    private void EndGroup()
    {
        Load(_c, Quad, nameof(ByteStream.Y));
        _c.add(__qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.Y))], LineBytes);
        for (var row = 0; row < _rows; row++)
        {
            _c.vmovups(__zmmword_ptr[Quad], Result(row));
            _c.add(Quad, __qword_ptr[RoutineFrame.At<ByteStream>(nameof(ByteStream.YStride))]);
        }

        _c.mov(Quad, Stride);
        _c.shl(Quad, 4);
        _c.add(Stored, Quad);
        _c.sub(Stored, Stride);
        if (_block.HasTable)
        {
            EndGroupOfScales();
        }
    }

    /// <summary>
    /// Asks for a step's share of the lines that come next. Steps are what is loaded and what is multiplied: memory is
    /// to have something to do all the time, and no more at once than it takes.
    /// </summary>
    private void Ask()
    {
        if (_asksNothing)
        {
            return;
        }

        _steps++;
        var wanted = (long)BlockLines * _steps / _stepsOfBlock;
        for (; _asked < wanted; _asked++)
        {
            _c.prefetcht0(__byte_ptr[Ahead + (_asked * LineBytes)]);
        }
    }
}
