using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>
/// The routine that multiplies tiles: sums of bytes in tile registers, everything after them in vectors. For each step
/// ascending, <c>acc = fma((float)sum, round(scale * rowScale), acc)</c>, then <c>acc = fma(min, factor, acc)</c> where
/// there are mins.
/// </summary>
/// <remarks>
/// A register of accumulators for each row, zmm0 to zmm15. Two sets of tiles take turns: while the vectors take up the
/// sums of a step, which went through memory, the tiles work on the next. Tile state lives within a call only, since
/// it makes switches between threads dear.
/// </remarks>
internal readonly struct AmxAssembly
{
    internal const int SumTile = 0;
    internal const int InputTile = 2;
    internal const int WeightTile = 4;
    internal const int SumsBytes = 1024;
    internal const int ScratchBytes = 2 * SumsBytes;

    private const int ProductRegister = 16;
    private const int ConvertedRegister = 22;
    private const int InFlight = 6;

    private static readonly AssemblerRegister64 Arguments = rdi;
    private static readonly AssemblerRegister64 Inputs = rsi;
    private static readonly AssemblerRegister64 InputStride = rdx;
    private static readonly AssemblerRegister64 Weights = rcx;
    private static readonly AssemblerRegister64 Line = r8;
    private static readonly AssemblerRegister64 Sums = r9;
    private static readonly AssemblerRegister64 Scales = r10;
    private static readonly AssemblerRegister64 Mins = r11;
    private static readonly AssemblerRegister64 RowScales = rax;
    private static readonly AssemblerRegister64 Steps = rbx;
    private static readonly AssemblerRegister64 Results = r14;
    private static readonly AssemblerRegister64 ResultStride = r15;
    private static readonly AssemblerRegisterZMM ScaleVector = zmm28;
    private static readonly AssemblerRegisterZMM MinVector = zmm29;

    private static readonly AssemblerRegisterTMM[] Tiles = [tmm0, tmm1, tmm2, tmm3, tmm4, tmm5];

    private static readonly AssemblerRegisterZMM[] Vectors =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27,
    ];

    private readonly Assembler _code;
    private readonly AmxShape _shape;

    private AmxAssembly(Assembler code, AmxShape shape) => (_code, _shape) = (code, shape);

    /// <summary>Writes the routine for a shape.</summary>
    internal static void Write(Assembler code, AmxShape shape) => new AmxAssembly(code, shape).Write();

    private void Write()
    {
        _code.push(rbx);
        _code.push(r14);
        _code.push(r15);
        Load(rax, nameof(AmxArguments.Configuration));
        _code.ldtilecfg(__[rax]);
        _code.mov(Line, AmxShape.LaneBytes);
        Load(InputStride, nameof(AmxArguments.InputStride));
        Load(ResultStride, nameof(AmxArguments.ResultStride));
        Load(Sums, nameof(AmxArguments.Sums));

        var nextTile = _code.CreateLabel();
        _code.Label(ref nextTile);
        LoadAccumulators();
        Load(Inputs, nameof(AmxArguments.Inputs));
        Load(Weights, nameof(AmxArguments.Weights));
        Load(Scales, nameof(AmxArguments.Scales));
        Load(Mins, nameof(AmxArguments.Mins));
        Load(RowScales, nameof(AmxArguments.RowScales));
        Load(Steps, nameof(AmxArguments.Steps));
        MultiplySteps();
        StoreAccumulators();
        Advance();
        _code.dec(Argument(nameof(AmxArguments.RowTiles)));
        _code.jne(nextTile);

        _code.tilerelease();
        _code.vzeroupper();
        _code.pop(r15);
        _code.pop(r14);
        _code.pop(rbx);
        _code.ret();
    }

    private void MultiplySteps()
    {
        Label next = _code.CreateLabel(), lastEven = _code.CreateLabel();
        Label lastOdd = _code.CreateLabel(), done = _code.CreateLabel();
        MultiplyTiles(0, 0, 0);
        StoreSums(0);

        _code.Label(ref next);
        _code.cmp(Steps, 1);
        _code.je(lastEven);
        MultiplyTiles(1, _shape.Depth, _shape.WeightStep);
        TakeUp(0);
        StoreSums(1);
        _code.cmp(Steps, 2);
        _code.je(lastOdd);
        MultiplyTiles(0, 2 * _shape.Depth, _shape.WeightPair);
        TakeUp(1);
        StoreSums(0);
        _code.add(Inputs, 2 * _shape.Depth);
        _code.add(Weights, _shape.WeightPair);
        _code.add(Scales, _shape.ScalePair);
        _code.add(Mins, _shape.ScalePair);
        _code.add(RowScales, _shape.RowScalePair);
        _code.sub(Steps, 2);
        _code.jmp(next);

        _code.Label(ref lastEven);
        TakeUp(0);
        _code.jmp(done);
        _code.Label(ref lastOdd);
        TakeUp(1);
        _code.Label(ref done);
    }

    private void MultiplyTiles(int set, int inputOffset, int weightOffset)
    {
        _code.tilezero(Tiles[SumTile + set]);
        _code.tileloadd(Tiles[InputTile + set], __[Inputs + InputStride + inputOffset]);
        _code.tileloadd(Tiles[WeightTile + set], __[Weights + Line + weightOffset]);
        _code.tdpbssd(Tiles[SumTile + set], Tiles[InputTile + set], Tiles[WeightTile + set]);
    }

    private void StoreSums(int set) => _code.tilestored(__[Sums + Line + (set * SumsBytes)], Tiles[SumTile + set]);

    private void TakeUp(int set)
    {
        _code.vmovups(ScaleVector, __zmmword_ptr[Scales + (set * _shape.ScaleStep)]);
        if (_shape.HasMins)
        {
            _code.vmovups(MinVector, __zmmword_ptr[Mins + (set * _shape.ScaleStep)]);
        }

        for (var row = 0; row < _shape.Rows; row++)
        {
            var product = Vectors[ProductRegister + (row % InFlight)];
            var converted = Vectors[ConvertedRegister + (row % InFlight)];
            var rowScale = (set * _shape.RowScaleStep) + (row * sizeof(float));
            _code.vmulps(product, ScaleVector, __dword_bcst[RowScales + rowScale]);
            _code.vcvtdq2ps(converted, __zmmword_ptr[Sums + ((set * SumsBytes) + (row * AmxShape.LaneBytes))]);
            _code.vfmadd231ps(Vectors[row], converted, product);
            if (_shape.HasMins)
            {
                _code.vfmadd231ps(
                    Vectors[row], MinVector, __dword_bcst[RowScales + (rowScale + AmxShape.LaneBytes)]);
            }
        }
    }

    private void LoadAccumulators()
    {
        Label zero = _code.CreateLabel(), done = _code.CreateLabel();
        Load(Results, nameof(AmxArguments.Results));
        _code.cmp(Argument(nameof(AmxArguments.Accumulate)), 0);
        _code.je(zero);
        for (var row = 0; row < _shape.Rows; row++)
        {
            _code.vmovups(Vectors[row], __zmmword_ptr[Results]);
            _code.add(Results, ResultStride);
        }

        _code.jmp(done);
        _code.Label(ref zero);
        for (var row = 0; row < _shape.Rows; row++)
        {
            _code.vpxord(Vectors[row], Vectors[row], Vectors[row]);
        }

        _code.Label(ref done);
    }

    /// <summary>Leaves the register of results at the row after the last.</summary>
    private void StoreAccumulators()
    {
        Load(Results, nameof(AmxArguments.Results));
        for (var row = 0; row < _shape.Rows; row++)
        {
            _code.vmovups(__zmmword_ptr[Results], Vectors[row]);
            _code.add(Results, ResultStride);
        }
    }

    private void Advance()
    {
        _code.mov(Argument(nameof(AmxArguments.Results)), Results);
        _code.imul(rax, InputStride, _shape.Rows);
        _code.add(Argument(nameof(AmxArguments.Inputs)), rax);
        Load(rax, nameof(AmxArguments.RowScalesStride));
        _code.add(Argument(nameof(AmxArguments.RowScales)), rax);
    }

    private void Load(AssemblerRegister64 register, string argument) => _code.mov(register, Argument(argument));

    private static AssemblerMemoryOperand Argument(string name) =>
        __qword_ptr[Arguments + (int)Marshal.OffsetOf<AmxArguments>(name)];
}
