using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Writes the routine for a number of rows: for each so many rows of a run all blocks of its tile.</summary>
/// <remarks>
/// Per row two vectors of integer sums (of a block) and two of results stay in registers. An input is four bytes of a
/// row in all lanes; a weight is four bytes of 16 outputs. Integer sums begin at minus zero times the inputs.
/// </remarks>
internal sealed class Int8Routine(TileFormat format, int rows)
{
    private const int Groups = 8;
    private const int VectorBytes = 64;
    private const int Weights = 24;
    private const int Inputs = 26;
    private const int Factors = 28;

    private static readonly AssemblerRegister64 X = rsi;
    private static readonly AssemblerRegister64[] XStrides = [rax, rdx, rcx];
    private static readonly AssemblerRegister64 Scales = r8;
    private static readonly AssemblerRegister64[] BlockStrides = [r9, r10, r11];
    private static readonly AssemblerRegister64 Sums = rbx;
    private static readonly AssemblerRegister64 ScaledSums = rbp;
    private static readonly AssemblerRegister64 Tile = r12;
    private static readonly AssemblerRegister64 Count = r13;
    private static readonly AssemblerRegister64 Y = r14;
    private static readonly AssemblerRegister64 YStride = r15;

    private readonly bool _halves = format.Kind == TileKind.Halves;

    internal void Write(Assembler c)
    {
        var (nextRows, nextBlock) = (c.CreateLabel(), c.CreateLabel());
        RoutineFrame.Enter(c);
        Strides(c, nameof(Int8Run.XStride), XStrides);
        Strides(c, nameof(Int8Run.BlockStride), BlockStrides);
        RoutineFrame.Load<Int8Run>(c, YStride, nameof(Int8Run.YStride));

        c.Label(ref nextRows);
        RoutineFrame.Load<Int8Run>(c, X, nameof(Int8Run.X));
        RoutineFrame.Load<Int8Run>(c, Scales, nameof(Int8Run.Scales));
        RoutineFrame.Load<Int8Run>(c, Sums, nameof(Int8Run.Sums));
        RoutineFrame.Load<Int8Run>(c, ScaledSums, nameof(Int8Run.ScaledSums));
        RoutineFrame.Load<Int8Run>(c, Tile, nameof(Int8Run.Tile));
        RoutineFrame.Load<Int8Run>(c, Y, nameof(Int8Run.Y));
        Begin(c);
        RoutineFrame.Load<Int8Run>(c, Count, nameof(Int8Run.Blocks));

        c.Label(ref nextBlock);
        Block(c);
        c.add(X, WeightTile.BlockValues);
        c.add(Scales, sizeof(float));
        c.add(Sums, _halves ? 2 * sizeof(int) : sizeof(int));
        c.add(ScaledSums, sizeof(float));
        c.add(Tile, format.BlockBytes);
        c.dec(Count);
        c.jne(nextBlock);

        EachRow(c, (row, column, y) => c.vmovups(y, Result(row, column)));
        Advance(c, nameof(Int8Run.X), XStrides[0], 1);
        Advance(c, nameof(Int8Run.Scales), BlockStrides[0], 1);
        Advance(c, nameof(Int8Run.Sums), BlockStrides[0], _halves ? 2 : 1);
        Advance(c, nameof(Int8Run.ScaledSums), BlockStrides[0], 1);
        Advance(c, nameof(Int8Run.Y), YStride, 1);
        c.dec(__qword_ptr[RoutineFrame.At<Int8Run>(nameof(Int8Run.Rows))]);
        c.jne(nextRows);

        RoutineFrame.Leave(c);
    }

    private static AssemblerRegisterZMM Vector(int number) => RoutineFrame.Vector(number);

    private static AssemblerRegisterZMM Sum(int row, int column) => Vector((2 * row) + column);

    private AssemblerRegisterZMM Result(int row, int column) => Vector((2 * (rows + row)) + column);

    /// <summary>Once, three and five times a stride: with the factors of addresses, all rows below 6.</summary>
    private static void Strides(Assembler c, string member, AssemblerRegister64[] registers)
    {
        RoutineFrame.Load<Int8Run>(c, registers[0], member);
        RoutineFrame.OddMultiples(c, registers);
    }

    private static AssemblerMemoryOperand OfRow(
        AssemblerRegister64 first, AssemblerRegister64[] strides, int row, int scale = 1) => row switch
        {
            0 => first + 0,
            3 => first + (strides[1] * scale),
            5 => first + (strides[2] * scale),
            _ => first + (strides[0] * (row * scale)),
        };

    private void Advance(Assembler c, string member, AssemblerRegister64 stride, int times)
    {
        c.imul(Count, stride, rows * times);
        c.add(__qword_ptr[RoutineFrame.At<Int8Run>(member)], Count);
    }

    private void EachRow(Assembler c, Action<int, int, AssemblerMemoryOperand> act)
    {
        for (var row = 0; row < rows; row++)
        {
            act(row, 0, __zmmword_ptr[Y]);
            act(row, 1, __zmmword_ptr[Y + VectorBytes]);
            if (row < rows - 1)
            {
                c.add(Y, YStride);
            }
        }

        for (var row = 1; row < rows; row++)
        {
            c.sub(Y, YStride);
        }
    }

    /// <summary>Results as they are, or zeros.</summary>
    private void Begin(Assembler c)
    {
        var (fresh, begun) = (c.CreateLabel(), c.CreateLabel());
        c.cmp(__qword_ptr[RoutineFrame.At<Int8Run>(nameof(Int8Run.Accumulate))], 0);
        c.je(fresh);
        EachRow(c, (row, column, y) => c.vmovups(Result(row, column), y));
        c.jmp(begun);
        c.Label(ref fresh);
        for (var row = 0; row < rows; row++)
        {
            c.vpxord(Result(row, 0), Result(row, 0), Result(row, 0));
            c.vpxord(Result(row, 1), Result(row, 1), Result(row, 1));
        }

        c.Label(ref begun);
    }

    private void Block(Assembler c)
    {
        var parts = _halves ? 2 : 1;
        for (var part = 0; part < parts; part++)
        {
            BeginSums(c, part);
            for (var group = part * Groups / parts; group < (part + 1) * Groups / parts; group++)
            {
                Group(c, group);
            }

            AddSums(c, part == 0 ? WeightTile.ScalesAt : WeightTile.SecondAt);
        }

        if (format.Kind == TileKind.Minimum)
        {
            AddMinima(c);
        }
    }

    private void BeginSums(Assembler c, int part)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < 2; column++)
            {
                var sum = Sum(row, column);
                if (format.Kind == TileKind.Minimum)
                {
                    c.vpxord(sum, sum, sum);
                }
                else
                {
                    var at = OfRow(Sums, BlockStrides, row, _halves ? 2 : 1) + (part * sizeof(int));
                    c.vpslld(sum, __dword_bcst[at], (byte)format.ZeroShift);
                }
            }
        }
    }

    private void Group(Assembler c, int group)
    {
        c.vmovdqu32(Vector(Weights), __zmmword_ptr[Tile + (group * VectorBytes)]);
        c.vmovdqu32(Vector(Weights + 1), __zmmword_ptr[Tile + WeightTile.HalfBytes + (group * VectorBytes)]);
        for (var row = 0; row < rows; row++)
        {
            var inputs = Vector(Inputs + (row % 2));
            c.vpbroadcastd(inputs, __dword_ptr[OfRow(X, XStrides, row) + (group * sizeof(int))]);
            c.vpdpbusd(Sum(row, 0), Vector(Weights), inputs);
            c.vpdpbusd(Sum(row, 1), Vector(Weights + 1), inputs);
        }
    }

    private void AddSums(Assembler c, int scalesAt)
    {
        c.vmovups(Vector(Weights), __zmmword_ptr[Tile + scalesAt]);
        c.vmovups(Vector(Weights + 1), __zmmword_ptr[Tile + scalesAt + VectorBytes]);
        for (var row = 0; row < rows; row++)
        {
            var scale = Vector(Inputs + (row % 2));
            c.vbroadcastss(scale, __dword_ptr[OfRow(Scales, BlockStrides, row)]);
            for (var column = 0; column < 2; column++)
            {
                var factor = Vector(Factors + (row % 2 * 2) + column);
                c.vmulps(factor, Vector(Weights + column), scale);
                c.vcvtdq2ps(Sum(row, column), Sum(row, column));
                c.vfmadd231ps(Result(row, column), Sum(row, column), factor);
            }
        }
    }

    private void AddMinima(Assembler c)
    {
        c.vmovups(Vector(Weights), __zmmword_ptr[Tile + WeightTile.SecondAt]);
        c.vmovups(Vector(Weights + 1), __zmmword_ptr[Tile + WeightTile.SecondAt + VectorBytes]);
        for (var row = 0; row < rows; row++)
        {
            var sum = Vector(Inputs + (row % 2));
            c.vbroadcastss(sum, __dword_ptr[OfRow(ScaledSums, BlockStrides, row)]);
            c.vfmadd231ps(Result(row, 0), Vector(Weights), sum);
            c.vfmadd231ps(Result(row, 1), Vector(Weights + 1), sum);
        }
    }
}
