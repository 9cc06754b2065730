using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Writes the two parts of <see cref="ByteKernels.Score"/> with <c>vdpbf16ps</c> and <c>vpdpbusd</c>: eight heads by 32
/// keys stay in registers, lanes are keys, words of queries are spread over them.
/// </summary>
internal static class ByteScoreRoutine
{
    private const int VectorBytes = 64;
    private const int Heads = KeyTiles.Heads;
    private const int HeadWordBytes = Heads * sizeof(uint);
    private const int StepBytes = ByteTileShape.StepBytes;
    private const int ScoreBytes = ByteKernels.ScoreStride * sizeof(float);
    private const int Unrolled = 4;
    private const int FirstQuery = 2;
    private const int FirstSum = 16;

    private static AssemblerRegister64 Queries => rsi;

    private static AssemblerRegister64 Keys => rdx;

    private static AssemblerRegister64 QueryBytes => rcx;

    private static AssemblerRegister64 Scores => r8;

    private static AssemblerRegister64 HeadsLeft => r9;

    private static AssemblerRegister64 QueryAt => r10;

    private static AssemblerRegister64 KeyAt => r11;

    private static AssemblerRegister64 StepsLeft => rax;

    private static AssemblerRegister64 QueryScales => rbx;

    private static AssemblerRegister64 Starts => rbp;

    private static AssemblerRegister64 KeyScales => r12;

    private static AssemblerRegister64 GroupsLeft => r13;

    private static AssemblerRegister64 Ahead => r14;

    private static AssemblerRegister64 AheadStep => r15;

    /// <summary>Chains of rotated values, which scores begin with; the argument is <see cref="ByteScores"/>.</summary>
    internal static void WriteRopes(Assembler c)
    {
        RoutineFrame.Enter(c);
        WriteLoads(c, nameof(ByteScores.Ropes), nameof(ByteScores.KeyRopes));
        var (heads, step) = (c.CreateLabel(), c.CreateLabel());
        c.Label(ref heads);
        for (var i = 0; i < 2 * Heads; i++)
        {
            var sum = RoutineFrame.Vector(FirstSum + i);
            c.vpxord(sum, sum, sum);
        }

        c.mov(QueryAt, Queries);
        c.mov(KeyAt, Keys);
        RoutineFrame.Load<ByteScores>(c, StepsLeft, nameof(ByteScores.RopePairs));
        c.Label(ref step);
        WriteStep(c, 0, isBytes: false);
        c.add(QueryAt, HeadWordBytes);
        c.add(KeyAt, StepBytes);
        c.dec(StepsLeft);
        c.jne(step);
        for (var head = 0; head < Heads; head++)
        {
            c.vmovups(ScoreAt(head, 0), Sum(head, 0));
            c.vmovups(ScoreAt(head, 1), Sum(head, 1));
        }

        WriteNextHeads(c);
        c.jne(heads);
        RoutineFrame.Leave(c);
    }

    /// <summary>What latents add to scores; the argument is a <see cref="ByteScores"/>.</summary>
    internal static void WriteLatents(Assembler c)
    {
        RoutineFrame.Enter(c);
        WriteLoads(c, nameof(ByteScores.Latents), nameof(ByteScores.KeyLatents));
        RoutineFrame.Load<ByteScores>(c, Ahead, nameof(ByteScores.Ahead));
        RoutineFrame.Load<ByteScores>(c, AheadStep, nameof(ByteScores.AheadStepBytes));
        var (heads, group, step) = (c.CreateLabel(), c.CreateLabel(), c.CreateLabel());
        c.Label(ref heads);
        c.mov(QueryAt, Queries);
        c.mov(KeyAt, Keys);
        RoutineFrame.Load<ByteScores>(c, QueryScales, nameof(ByteScores.QueryScales));
        RoutineFrame.Load<ByteScores>(c, Starts, nameof(ByteScores.Starts));
        RoutineFrame.Load<ByteScores>(c, GroupsLeft, nameof(ByteScores.Groups));
        RoutineFrame.Load<ByteScores>(c, KeyScales, nameof(ByteScores.KeyScales));
        c.Label(ref group);
        for (var head = 0; head < Heads; head++)
        {
            c.vpbroadcastd(Sum(head, 0), __dword_ptr[Starts + (head * sizeof(int))]);
            c.vmovdqa32(Sum(head, 1), Sum(head, 0));
        }

        c.mov(StepsLeft, ByteTileShape.GroupWords / Unrolled);
        c.Label(ref step);
        for (var i = 0; i < Unrolled; i++)
        {
            c.prefetcht1(__byte_ptr[Ahead]);
            c.add(Ahead, AheadStep);
            WriteStep(c, i, isBytes: true);
        }

        c.add(QueryAt, Unrolled * HeadWordBytes);
        c.add(KeyAt, Unrolled * StepBytes);
        c.dec(StepsLeft);
        c.jne(step);
        WriteGroupEnd(c);
        c.add(Starts, HeadWordBytes);
        c.add(QueryScales, HeadWordBytes);
        c.add(KeyScales, StepBytes);
        c.dec(GroupsLeft);
        c.jne(group);
        c.add(__qword_ptr[RoutineFrame.At<ByteScores>(nameof(ByteScores.QueryScales))], QueryBytes);
        c.add(__qword_ptr[RoutineFrame.At<ByteScores>(nameof(ByteScores.Starts))], QueryBytes);
        WriteNextHeads(c);
        c.jne(heads);
        RoutineFrame.Leave(c);
    }

    private static AssemblerRegisterZMM Sum(int head, int half) => RoutineFrame.Vector(FirstSum + (2 * head) + half);

    private static AssemblerMemoryOperand ScoreAt(int head, int half) =>
        __zmmword_ptr[Scores + ((head * ScoreBytes) + (half * VectorBytes))];

    private static void WriteLoads(Assembler c, string queries, string keys)
    {
        RoutineFrame.Load<ByteScores>(c, Queries, queries);
        RoutineFrame.Load<ByteScores>(c, Keys, keys);
        RoutineFrame.Load<ByteScores>(c, QueryBytes, nameof(ByteScores.QueryBytes));
        RoutineFrame.Load<ByteScores>(c, HeadsLeft, nameof(ByteScores.HeadGroups));
        RoutineFrame.Load<ByteScores>(c, Scores, nameof(ByteScores.Scores));
    }

    private static void WriteStep(Assembler c, int step, bool isBytes)
    {
        c.vmovdqu32(zmm0, __zmmword_ptr[KeyAt + (step * StepBytes)]);
        c.vmovdqu32(zmm1, __zmmword_ptr[KeyAt + ((step * StepBytes) + VectorBytes)]);
        for (var head = 0; head < Heads; head++)
        {
            var query = RoutineFrame.Vector(FirstQuery + head);
            c.vpbroadcastd(query, __dword_ptr[QueryAt + ((step * HeadWordBytes) + (head * sizeof(uint)))]);
            if (isBytes)
            {
                c.vpdpbusd(Sum(head, 0), zmm0, query);
                c.vpdpbusd(Sum(head, 1), zmm1, query);
            }
            else
            {
                c.vdpbf16ps(Sum(head, 0), zmm0, query);
                c.vdpbf16ps(Sum(head, 1), zmm1, query);
            }
        }
    }

    /// <summary>The sums of a group, times both scales, are added to the scores.</summary>
    private static void WriteGroupEnd(Assembler c)
    {
        c.vmovups(zmm0, __zmmword_ptr[KeyScales]);
        c.vmovups(zmm1, __zmmword_ptr[KeyScales + VectorBytes]);
        for (var head = 0; head < Heads; head++)
        {
            var (first, second) = (zmm3, zmm4);
            c.vbroadcastss(zmm2, __dword_ptr[QueryScales + (head * sizeof(float))]);
            c.vmulps(first, zmm0, zmm2);
            c.vmulps(second, zmm1, zmm2);
            c.vcvtdq2ps(Sum(head, 0), Sum(head, 0));
            c.vcvtdq2ps(Sum(head, 1), Sum(head, 1));
            c.vfmadd213ps(Sum(head, 0), first, ScoreAt(head, 0));
            c.vfmadd213ps(Sum(head, 1), second, ScoreAt(head, 1));
            c.vmovups(ScoreAt(head, 0), Sum(head, 0));
            c.vmovups(ScoreAt(head, 1), Sum(head, 1));
        }
    }

    private static void WriteNextHeads(Assembler c)
    {
        c.add(Queries, QueryBytes);
        c.add(Scores, Heads * ScoreBytes);
        c.dec(HeadsLeft);
    }
}
