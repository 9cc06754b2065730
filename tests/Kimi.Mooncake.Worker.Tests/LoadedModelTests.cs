using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models.Synthetic;
using Kimi.Mooncake.Models.Tests.Synthetic;

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
    [TestCase(TensorType.F16, true)]
    [TestCase(TensorType.F32, true)]
    public void Open_FastAndExact_SameNameWhereNothingIsRounded(TensorType type, bool same)
    {
        var path = Path.Combine(_folder, "model.gguf");
        SyntheticModel.Write(path, TinyShape.K2, 1, type);

        using var fast = LoadedModel.Open(new ModelOptions { Path = path });
        using var exact = LoadedModel.Open(new ModelOptions { Path = path, Arithmetic = "exact" });

        Assert.That(exact.Arithmetic, Is.EqualTo(CpuArithmetic.Exact));
        Assert.That(fast.Arithmetic, Is.EqualTo(same ? CpuArithmetic.Exact : CpuArithmetic.Fast));
        Assert.That(fast.Fingerprint, Has.Length.EqualTo(64));
        Assert.That(fast.Fingerprint == exact.Fingerprint, Is.EqualTo(same));
    }

    [TestCase("auto")]
    [TestCase("off")]
    public void Open_ReadAheadOrNot_IsTheSameModel(string readAhead)
    {
        var (file, folder) = (Path.Combine(_folder, "model.gguf"), Path.Combine(_folder, "model"));
        foreach (var path in new[] { file, folder })
        {
            SyntheticModel.Write(path, TinyShape.K2, 1, TensorType.BF16);
            using var plain = LoadedModel.Open(new ModelOptions { Path = path });

            using var model = LoadedModel.Open(new ModelOptions { Path = path, ReadAhead = readAhead });

            Assert.That(model.Fingerprint, Is.EqualTo(plain.Fingerprint));
        }
    }

    [Test]
    public void Open_UnknownReadAhead_SaysWhichThereAre() => Assert.That(
        () => LoadedModel.Open(new ModelOptions { Path = "absent.gguf", ReadAhead = "always" }),
        Throws.ArgumentException.With.Message.Contains("model.read_ahead is 'always'; accepted are auto and off"));

    [TestCase(TensorType.Q8_0, "fast", "auto", KvElementType.BF16)]
    [TestCase(TensorType.BF16, "fast", "auto", KvElementType.BF16)]
    [TestCase(TensorType.F16, "fast", "auto", KvElementType.F32)]
    [TestCase(TensorType.F32, "fast", "auto", KvElementType.F32)]
    [TestCase(TensorType.Q8_0, "exact", "auto", KvElementType.F32)]
    [TestCase(TensorType.Q8_0, "fast", "f32", KvElementType.F32)]
    [TestCase(TensorType.F32, "exact", "bf16", KvElementType.BF16)]
    [TestCase(TensorType.F32, "exact", "q8", KvElementType.Q8)]
    public void LayoutOf_KvType_FollowsTheSettingAndTheWeights(
        TensorType type, string arithmetic, string value, KvElementType expected)
    {
        var path = Path.Combine(_folder, "model.gguf");
        SyntheticModel.Write(path, TinyShape.K2, 1, type);
        using var model = LoadedModel.Open(new ModelOptions { Path = path, Arithmetic = arithmetic });

        var layout = KimiWorker.LayoutOf(model, new WorkerOptions { KvType = value });

        Assert.That(layout.ElementType, Is.EqualTo(expected));
    }

    [Test]
    public void LayoutOf_UnknownKvType_SaysWhichThereAre()
    {
        var path = Path.Combine(_folder, "model.gguf");
        SyntheticModel.Write(path, TinyShape.K2, 1, TensorType.F32);
        using var model = LoadedModel.Open(new ModelOptions { Path = path });

        Assert.That(
            () => KimiWorker.LayoutOf(model, new WorkerOptions { KvType = "q4" }),
            Throws.ArgumentException.With.Message.Contains("accepted are auto, f32, bf16 and q8"));
    }
}
