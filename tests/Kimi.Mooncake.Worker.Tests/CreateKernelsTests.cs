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

        using var kernels = LoadedModel.CreateKernels(options, modelBytes);

        Assert.That(((CpuKernels)kernels).Options.PackBytesMax, Is.EqualTo(expected));
    }

    [Test]
    public void CreateKernels_Reference_AreThose()
    {
        using var kernels = LoadedModel.CreateKernels(new WorkerOptions { Kernels = "reference" }, 1);

        Assert.That(kernels, Is.TypeOf<ReferenceKernels>());
    }

    [Test]
    public void CreateKernels_UnknownName_SaysWhichThereAre() => Assert.That(
        () => LoadedModel.CreateKernels(new WorkerOptions { Kernels = "abacus" }, 1),
        Throws.ArgumentException.With.Message.Contains("accepted are cpu and reference"));
}
