using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Worker.Tests;

internal sealed class CreateKernelsTests
{
    [TestCase(100, 100, 100)]
    [TestCase(100, 101, 0)]
    [TestCase(0, 1, 0)]
    public void CreateKernels_ModelWithinTheMemoryOrNot_UnpacksAllOrNothing(
        long packBytesMax, long modelBytes, long expected)
    {
        var options = new WorkerOptions { Threads = 1, PackBytesMax = packBytesMax };

        using var kernels = LoadedModel.CreateKernels(options, CpuArithmetic.Exact, modelBytes);

        Assert.That(((CpuKernels)kernels).Options.PackBytesMax, Is.EqualTo(expected));
    }

    [TestCase(50, 1)]
    [TestCase(0, 0)]
    public void CreateKernels_ShareOfMemoryForRepackedWeights_IsTaken(int percent, int expected)
    {
        var options = new WorkerOptions { Threads = 1, RepackMemoryPercent = percent };
        var half = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 2;

        using var kernels = LoadedModel.CreateKernels(options, CpuArithmetic.Fast, 1);

        Assert.That(
            ((CpuKernels)kernels).Options.RepackBytesMax, Is.EqualTo(expected * half).Within(expected * 100));
    }

    [Test]
    public void CreateKernels_Reference_AreThose()
    {
        var options = new WorkerOptions { Kernels = "reference" };

        using var kernels = LoadedModel.CreateKernels(options, CpuArithmetic.Exact, 1);

        Assert.That(kernels, Is.TypeOf<ReferenceKernels>());
    }

    [Test]
    public void CreateKernels_UnknownName_SaysWhichThereAre() => Assert.That(
        () => LoadedModel.CreateKernels(new WorkerOptions { Kernels = "abacus" }, CpuArithmetic.Exact, 1),
        Throws.ArgumentException.With.Message.Contains("accepted are cpu and reference"));

    [Test]
    public void CreateKernels_ReferenceWithRoundedInputs_SaysThatItDoesNotRound() => Assert.That(
        () => LoadedModel.CreateKernels(new WorkerOptions { Kernels = "reference" }, CpuArithmetic.Fast, 1),
        Throws.ArgumentException.With.Message.Contains("model.arithmetic must be exact"));

    [TestCase("portable", InstructionPath.Portable)]
    [TestCase("auto", null)]
    public void CreateKernels_Instructions_AreTaken(string value, InstructionPath? expected)
    {
        var options = new WorkerOptions { Threads = 1, Instructions = value };

        using var kernels = LoadedModel.CreateKernels(options, CpuArithmetic.Fast, 1);

        Assert.That(((CpuKernels)kernels).Options.Path, Is.EqualTo(expected ?? InstructionPaths.Best));
    }

    [Test]
    [Platform("Linux")]
    public void CreateKernels_PinThreads_IsTaken([Values] bool pin)
    {
        var options = new WorkerOptions { Threads = 1, PinThreads = pin };

        using var kernels = LoadedModel.CreateKernels(options, CpuArithmetic.Exact, 1);

        Assert.That(((CpuKernels)kernels).Options.PinThreads, Is.EqualTo(pin));
    }

    [Test]
    public void CreateKernels_InstructionsThatAreNotThere_SayWhichAre()
    {
        if (InstructionPaths.IsSupported(InstructionPath.Amx))
        {
            Assert.Ignore("skipped: this machine has AMX");
        }

        Assert.That(
            () => LoadedModel.CreateKernels(
                new WorkerOptions { Threads = 1, Instructions = "amx" }, CpuArithmetic.Fast, 1),
            Throws.TypeOf<PlatformNotSupportedException>()
                .With.Message.Contains($"instruction path Amx: this machine has {InstructionPaths.Best} at best"));
    }

    [Test]
    public void CreateKernels_UnknownInstructions_SaysWhichThereAre() => Assert.That(
        () => LoadedModel.CreateKernels(new WorkerOptions { Instructions = "mmx" }, CpuArithmetic.Fast, 1),
        Throws.ArgumentException.With.Message.Contains("accepted are auto, portable, avx-vnni, avx512 and amx"));

    [Test]
    public void Open_UnknownArithmetic_SaysWhichThereAre() => Assert.That(
        () => LoadedModel.Open(new ModelOptions { Path = "absent.gguf", Arithmetic = "round" }),
        Throws.ArgumentException.With.Message.Contains("accepted are fast and exact"));
}
