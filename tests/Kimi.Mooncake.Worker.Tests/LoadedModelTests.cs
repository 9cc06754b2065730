using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models.Synthetic;

namespace Kimi.Mooncake.Worker.Tests;

internal sealed class LoadedModelTests
{
    private string _folder = "";

    [SetUp]
    public void SetUp() => _folder = Directory.CreateTempSubdirectory("loaded-model-").FullName;

    [TearDown]
    public void TearDown() => Directory.Delete(_folder, recursive: true);

    [TestCase(TensorType.Q8_0, false)]
    [TestCase(TensorType.BF16, false)]
    [TestCase(TensorType.F32, true)]
    public void Open_FastAndExact_SameNameWhereNothingIsRounded(TensorType type, bool same)
    {
        var path = Path.Combine(_folder, "model.gguf");
        SyntheticModel.Write(path, SmallModel.Config, 1, type);

        using var fast = LoadedModel.Open(new ModelOptions { Path = path });
        using var exact = LoadedModel.Open(new ModelOptions { Path = path, Arithmetic = "exact" });

        Assert.That(exact.Arithmetic, Is.EqualTo(CpuArithmetic.Exact));
        Assert.That(fast.Arithmetic, Is.EqualTo(same ? CpuArithmetic.Exact : CpuArithmetic.Fast));
        Assert.That(fast.Fingerprint, Has.Length.EqualTo(64));
        Assert.That(fast.Fingerprint == exact.Fingerprint, Is.EqualTo(same));
    }
}
