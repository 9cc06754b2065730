using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>When tiles may be used, on simulated machines; and what a machine without them says.</summary>
internal sealed unsafe class AmxSupportTests
{
    private const int Tiles = 1 << 24;
    private const int Int8 = 1 << 25;
    private const ulong TileState = 3UL << 17;

    [Test]
    public void Decide_WholeMachine_IsUsable() =>
        Assert.That(AmxSupport.Decide(Machine()), Is.EqualTo((true, (string?)null)));

    [TestCase(0)]
    [TestCase(Tiles)]
    [TestCase(Int8)]
    public void Decide_NoTilesOrNoProducts_IsSilentAndAsksForNothing(int features)
    {
        var machine = Machine(features: features) with { RequestTiles = () => throw new InvalidOperationException() };

        Assert.That(AmxSupport.Decide(machine), Is.EqualTo((false, (string?)null)));
    }

    [Test]
    public void Decide_SystemRefuses_SaysSoAndTestsNothing()
    {
        var machine = Machine() with
        {
            RequestTiles = () => 22,
            Trial = () => throw new InvalidOperationException(),
            SelfTest = () => throw new InvalidOperationException(),
        };

        Assert.That(
            AmxSupport.Decide(machine), Is.EqualTo((false, "the system does not permit AMX tiles: error 22")));
    }

    [Test]
    public void Decide_StateIsNotPermitted_SaysSoAndTestsNothing()
    {
        var machine = Machine() with
        {
            PermittedState = () => 1UL << 17,
            Trial = () => throw new InvalidOperationException(),
            SelfTest = () => throw new InvalidOperationException(),
        };

        Assert.That(
            AmxSupport.Decide(machine),
            Is.EqualTo((false, "the system does not permit AMX tiles: permitted state is 20000")));
    }

    [TestCase(0x20, 8, 16)]
    [TestCase(0x40, 4, 16)]
    [TestCase(0x40, 8, 8)]
    public void Decide_TilesOfAnotherSize_AreNotUsed(int rowBytes, int names, int rows)
    {
        var machine = Machine(tiles: (0, rowBytes | (names << 16), rows, 0)) with
        {
            RequestTiles = () => throw new InvalidOperationException(),
        };

        var (isUsable, refusal) = AmxSupport.Decide(machine);

        Assert.That(isUsable, Is.False);
        Assert.That(refusal, Does.StartWith("AMX tiles of unknown size: "));
    }

    [Test]
    public void Decide_WrongResults_AreToldAndNotUsed([Values] TileKind kind, [Values(0, 15, 40)] int row)
    {
        var machine = Machine() with
        {
            SelfTest = () => AmxSelfTest.Run(format => new Flawed(format, format.Kind == kind, row), 41),
        };

        var (isUsable, refusal) = AmxSupport.Decide(machine);

        Assert.That(isUsable, Is.False);
        Assert.That(refusal, Does.StartWith($"AMX self-test failed: {kind} tiles"));
        Assert.That(refusal, Does.Contain($"41 rows").And.Contain($"row {row}, output 31 is "));
    }

    [Test]
    public void Decide_ChildFaults_IsToldAndTestedNoFurther()
    {
        var machine = Machine() with
        {
            Trial = () => "a child process ended by signal 4",
            SelfTest = () => throw new InvalidOperationException(),
        };

        Assert.That(
            AmxSupport.Decide(machine), Is.EqualTo((false, "AMX trial failed: a child process ended by signal 4")));
    }

    [Test]
    public void Decide_NoPagesForRoutines_IsToldAndNotUsed()
    {
        var machine = Machine() with { SelfTest = () => throw new PlatformNotSupportedException("no memory") };

        Assert.That(AmxSupport.Decide(machine), Is.EqualTo((false, "AMX self-test failed: no memory")));
    }

    [Test]
    public void CpuKernels_TilesThatAreNotThere_SayWhatThereIs()
    {
        if (InstructionPaths.IsSupported(InstructionPath.Amx))
        {
            Assert.Ignore("skipped: this machine has AMX");
        }

        Assert.That(
            () => new CpuKernels(new CpuOptions { ThreadCount = 1, Path = InstructionPath.Amx }),
            Throws.TypeOf<PlatformNotSupportedException>().With.Message.Contains("instruction path Amx: ")
                .And.Message.Contains($"this machine has {InstructionPaths.Best} at best"));
    }

    [TestCase(Tiles | Int8, false)]
    [TestCase(Tiles | Int8 | (1 << 22), true)]
    public void HasBf16Products_Processor_IsWhatItSays(int features, bool expected) =>
        Assert.That(AmxSupport.HasBf16Products(Machine(features: features)), Is.EqualTo(expected));

    [Test]
    public void PeakRoutines_OfTiles_RunWithoutAFault([Values] bool bf16)
    {
        if (!MachineCode.IsSupported)
        {
            Assert.Ignore("skipped: generated routines need Linux on x86-64");
        }

        using var code = bf16 ? PeakRoutines.Bf16OfTiles() : PeakRoutines.Int8OfTiles();
        var arguments = new PeakArguments { Rounds = 3 };
        var memory = new MachineMemory();
        memory.Allow(&arguments, sizeof(PeakArguments), writable: false);
        var machine = new MachineInterpreter(code.Bytes, memory);

        machine.Call(&arguments);

        Assert.That(machine.Executed, Is.GreaterThan(3 * 6));
        Assert.That(machine.Tiles.IsConfigured, Is.False);
    }

    [Test]
    public void ThisMachine_NoTiles_RefusesThem()
    {
        if (!MachineCode.IsSupported || InstructionPaths.IsSupported(InstructionPath.Amx))
        {
            Assert.Ignore("skipped: this machine has AMX, or is not x86-64 with Linux");
        }

        var machine = AmxSupport.ThisMachine();
        var (isUsable, refusal) = AmxSupport.Decide(machine);

        Assert.That(isUsable, Is.False);
        Assert.That(refusal ?? "", Does.Not.Contain("self-test"), "tiles were used");
        Assert.That(machine.RequestTiles(), Is.Not.Zero);
        Assert.That(machine.PermittedState() & TileState, Is.Zero);
    }

    [TestCase(InstructionPath.Avx512, "AMX self-test failed: x", "; AMX self-test failed: x")]
    [TestCase(InstructionPath.Amx, "AMX self-test failed: x", "; AMX self-test failed: x")]
    [TestCase(InstructionPath.Amx, null, "")]
    [TestCase(InstructionPath.Portable, "AMX self-test failed: x", "")]
    public void Remark_RefusalOfWhatMightHaveBeenTaken_IsTold(
        InstructionPath path, string? refusal, string expected) =>
        Assert.That(AmxSupport.Remark(path, refusal), Is.EqualTo(expected));

    private static AmxMachine Machine(
        int features = Tiles | Int8, (int Eax, int Ebx, int Ecx, int Edx)? tiles = null) => new(
        (leaf, subleaf) => (leaf, subleaf) switch
        {
            (0, _) => (0x20, 0, 0, 0),
            (7, 0) => (0, 0, 0, features),
            (0x1d, 1) => tiles ?? (0x0400_2000, 0x0008_0040, 16, 0),
            (0x1e, 0) => (0, 0x4010, 0, 0),
            _ => (0, 0, 0, 0),
        },
        () => 0,
        () => TileState | 7,
        () => null,
        () => null);

    /// <summary>Gives one value of one row another last bit.</summary>
    private sealed class Flawed(TileFormat format, bool isFlawed, int row) : Int8Kernel
    {
        private readonly PortableInt8 _sound = new(format);

        internal override void Multiply(in Int8Run run)
        {
            _sound.Multiply(run);
            if (isFlawed)
            {
                *(uint*)(run.From(row, 1).Y + WeightTile.Outputs - 1) ^= 1;
            }
        }
    }
}
