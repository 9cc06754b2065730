using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>Routines that fault end a child process and nothing else.</summary>
internal sealed unsafe class ChildTrialTests
{
    private const int Seconds = 10;

    [SetUp]
    public void RequireGeneratedRoutines()
    {
        if (!MachineCode.IsSupported)
        {
            Assert.Ignore("skipped: generated routines need Linux on x86-64");
        }
    }

    [Test]
    public void Run_RoutinesThatReturn_IsNothingAndLeavesMemoryAlone()
    {
        var written = 1L;
        using var write = new MachineCode(c =>
        {
            c.mov(__qword_ptr[rdi], 2);
            c.ret();
        });
        using var expect = new MachineCode(c => ReturnIf(c, 2));
        TrialCall[] calls = [new(write.Address, (nint)(&written)), new(expect.Address, (nint)(&written))];

        Assert.That(ChildTrial.Run(calls, Seconds), Is.Null);
        Assert.That(written, Is.EqualTo(1));
    }

    [Test]
    public void Run_UndefinedInstruction_IsTheSignalOfTheChild() =>
        Assert.That(RunOne(c => c.ud2()), Is.EqualTo("a child process ended by signal 4"));

    [Test]
    public void Run_MemoryThatIsNotThere_IsTheSignalOfTheChild() =>
        Assert.That(RunOne(c => c.mov(rax, __qword_ptr[rdi])), Is.EqualTo("a child process ended by signal 11"));

    [Test]
    public void Run_RoutineThatDoesNotEnd_IsEndedByAnAlarm()
    {
        using var forever = new MachineCode(c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.jmp(again);
        });

        Assert.That(
            ChildTrial.Run([new(forever.Address, 0)], secondsMax: 1),
            Is.EqualTo("a child process ended by signal 14"));
    }

    [Test]
    public void Run_LastOfSeveralFaults_IsToldToo()
    {
        var value = 3L;
        using var sound = new MachineCode(c => ReturnIf(c, 3));
        using var fault = new MachineCode(c => c.ud2());
        TrialCall[] calls = [new(sound.Address, (nint)(&value)), new(fault.Address, 0)];

        Assert.That(ChildTrial.Run(calls, Seconds), Is.EqualTo("a child process ended by signal 4"));
    }

    [Test]
    public void AmxTrial_ProcessorWithoutTiles_FaultsInTheChildAlone()
    {
        if (InstructionPaths.IsSupported(InstructionPath.Amx))
        {
            Assert.Ignore("skipped: this machine has AMX");
        }

        Assert.That(AmxTrial.Run(), Is.EqualTo("a child process ended by signal 4"));
    }

    private static string? RunOne(Action<Assembler> fault)
    {
        using var code = new MachineCode(c =>
        {
            fault(c);
            c.ret();
        });
        return ChildTrial.Run([new(code.Address, 0)], Seconds);
    }

    /// <summary>Returns if its argument points to a value, and faults otherwise.</summary>
    private static void ReturnIf(Assembler c, int value)
    {
        var different = c.CreateLabel();
        c.cmp(__qword_ptr[rdi], value);
        c.jne(different);
        c.ret();
        c.Label(ref different);
        c.ud2();
    }
}
