using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Writes <see cref="LatentKernels.Score"/> with <c>vdpbf16ps</c>: four heads by four keys stay in registers, lanes
/// along the row; their lanes are then added up all together.
/// </summary>
internal static class LatentScoreRoutine
{
    /// <summary>Tiles of four heads that a group of keys takes.</summary>
    internal const int Tiles = LatentKernels.Heads / Side;

    private const int Side = 4;
    private const int VectorBytes = 64;
    private const int PointerBytes = 8;
    private const int FirstQuery = 4;
    private const int FirstSum = 16;

    // Arguments that stay in memory.
    private const int KeyGroupsAt = 5 * PointerBytes;
    private const int ScoreStrideAt = 7 * PointerBytes;

    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    private static AssemblerRegister64 Queries => rsi;

    private static AssemblerRegister64 QueryStride => rdx;

    private static AssemblerRegister64 Keys => rcx;

    private static AssemblerRegister64 KeyStride => r8;

    private static AssemblerRegister64 Steps => r9;

    private static AssemblerRegister64 Far => r10;

    private static AssemblerRegister64 Scores => r11;

    private static AssemblerRegister64 FarStep => rax;

    private static AssemblerRegister64 ThreeQueries => rbx;

    private static AssemblerRegister64 ThreeKeys => rbp;

    private static AssemblerRegister64 QueryAt => r12;

    private static AssemblerRegister64 KeyAt => r13;

    private static AssemblerRegister64 StepsLeft => r14;

    private static AssemblerRegister64 ScoreAt => r15;

    private static AssemblerRegister64 AheadAt => rdi;

    /// <summary>The routine; its argument is a <see cref="LatentScores"/>.</summary>
    internal static void Write(Assembler c)
    {
        foreach (var register in Saved)
        {
            c.push(register);
        }

        AssemblerRegister64?[] arguments =
            [Queries, QueryStride, Keys, KeyStride, Steps, null, Scores, null, Far, FarStep];
        for (var i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] is { } register)
            {
                c.mov(register, __qword_ptr[rdi + (i * PointerBytes)]);
            }
        }

        c.push(rdi);

        c.lea(ThreeQueries, __[QueryStride + (QueryStride * 2)]);
        c.lea(ThreeKeys, __[KeyStride + (KeyStride * 2)]);
        var group = c.CreateLabel();
        c.Label(ref group);
        c.mov(QueryAt, Queries);
        c.mov(ScoreAt, Scores);
        WriteTile(c, 0);
        c.lea(QueryAt, __[Queries + (QueryStride * 4)]);
        c.mov(KeyAt, __qword_ptr[rsp]);
        c.mov(KeyAt, __qword_ptr[KeyAt + ScoreStrideAt]);
        c.lea(ScoreAt, __[Scores + (KeyAt * 4)]);
        WriteTile(c, Side / 2);
        c.lea(Keys, __[Keys + (KeyStride * 4)]);
        c.add(Scores, Side * sizeof(float));
        c.mov(KeyAt, __qword_ptr[rsp]);
        c.dec(__qword_ptr[KeyAt + KeyGroupsAt]);
        c.jne(group);

        c.pop(rdi);
        c.vzeroupper();
        foreach (var register in Saved.Reverse())
        {
            c.pop(register);
        }

        c.ret();
    }

    private static AssemblerRegisterZMM Sum(int head, int key) =>
        RoutineFrame.Vector(FirstSum + (head * Side) + key);

    private static AssemblerRegisterZMM Key(int key) => RoutineFrame.Vector(key);

    private static AssemblerRegisterZMM Query(int head) => RoutineFrame.Vector(FirstQuery + head);

    /// <summary>
    /// Four heads by four keys; two of the next four keys, and what comes after this tile, are brought near meanwhile.
    /// </summary>
    private static void WriteTile(Assembler c, int firstAhead)
    {
        for (var i = 0; i < Side * Side; i++)
        {
            var sum = RoutineFrame.Vector(FirstSum + i);
            c.vpxord(sum, sum, sum);
        }

        c.mov(KeyAt, Keys);
        c.lea(AheadAt, __[Keys + (KeyStride * 4)]);
        if (firstAhead > 0)
        {
            c.lea(AheadAt, __[AheadAt + (KeyStride * 2)]);
        }

        c.mov(StepsLeft, Steps);
        var step = c.CreateLabel();
        c.Label(ref step);
        c.vmovups(Key(0), __zmmword_ptr[KeyAt]);
        c.vmovups(Key(1), __zmmword_ptr[KeyAt + KeyStride]);
        c.vmovups(Key(2), __zmmword_ptr[KeyAt + (KeyStride * 2)]);
        c.vmovups(Key(3), __zmmword_ptr[KeyAt + ThreeKeys]);
        c.vmovups(Query(0), __zmmword_ptr[QueryAt]);
        c.vmovups(Query(1), __zmmword_ptr[QueryAt + QueryStride]);
        c.vmovups(Query(2), __zmmword_ptr[QueryAt + (QueryStride * 2)]);
        c.vmovups(Query(3), __zmmword_ptr[QueryAt + ThreeQueries]);
        c.prefetcht0(__byte_ptr[AheadAt]);
        c.prefetcht0(__byte_ptr[AheadAt + KeyStride]);
        c.prefetcht1(__byte_ptr[Far]);
        for (var head = 0; head < Side; head++)
        {
            for (var key = 0; key < Side; key++)
            {
                c.vdpbf16ps(Sum(head, key), Query(head), Key(key));
            }
        }

        c.add(QueryAt, VectorBytes);
        c.add(KeyAt, VectorBytes);
        c.add(AheadAt, VectorBytes);
        c.add(Far, FarStep);
        c.dec(StepsLeft);
        c.jne(step);
        WriteReduction(c);
        c.mov(KeyAt, __qword_ptr[rsp]);
        c.mov(KeyAt, __qword_ptr[KeyAt + ScoreStrideAt]);
        c.lea(StepsLeft, __[KeyAt + (KeyAt * 2)]);
        c.vmovups(__xmmword_ptr[ScoreAt], xmm0);
        c.vextractf32x4(__xmmword_ptr[ScoreAt + KeyAt], zmm0, 1);
        c.vextractf32x4(__xmmword_ptr[ScoreAt + (KeyAt * 2)], zmm0, 2);
        c.vextractf32x4(__xmmword_ptr[ScoreAt + StepsLeft], zmm0, 3);
    }

    /// <summary>To zmm0: for each head four scores. Halves of lanes are added to halves, as everywhere else.</summary>
    private static void WriteReduction(Assembler c)
    {
        for (var key = 0; key < Side; key++)
        {
            // Quarters of the register: those of two heads, then those of four.
            Add(c, Sum(0, key), Sum(0, key), Sum(1, key), 0x44, 0xee, quarters: true);
            Add(c, Sum(2, key), Sum(2, key), Sum(3, key), 0x44, 0xee, quarters: true);
            Add(c, Sum(0, key), Sum(0, key), Sum(2, key), 0x88, 0xdd, quarters: true);
        }

        // Within the quarters: two keys, then four.
        Add(c, Sum(0, 0), Sum(0, 0), Sum(0, 1), 0x44, 0xee, quarters: false);
        Add(c, Sum(0, 2), Sum(0, 2), Sum(0, 3), 0x44, 0xee, quarters: false);
        Add(c, zmm0, Sum(0, 0), Sum(0, 2), 0x88, 0xdd, quarters: false);
    }

    private static void Add(
        Assembler c, AssemblerRegisterZMM target, AssemblerRegisterZMM a, AssemblerRegisterZMM b, byte first,
        byte second, bool quarters)
    {
        if (quarters)
        {
            c.vshuff32x4(zmm8, a, b, first);
            c.vshuff32x4(zmm9, a, b, second);
        }
        else
        {
            c.vshufps(zmm8, a, b, first);
            c.vshufps(zmm9, a, b, second);
        }

        c.vaddps(target, zmm8, zmm9);
    }
}
