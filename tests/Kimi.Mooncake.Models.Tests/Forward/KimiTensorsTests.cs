using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

/// <summary>A file whose tensors are not those of its configuration is refused, whichever side is wrong.</summary>
[TestFixture]
internal sealed class KimiTensorsTests
{
    private TemporaryFolder _folder = null!;
    private GgufFile _file = null!;

    [SetUp]
    public void Open()
    {
        _folder = new TemporaryFolder();
        NeedleModel.Write(_folder.File("model.gguf"), TensorType.F16);
        _file = GgufFile.Open(_folder.File("model.gguf"));
    }

    [TearDown]
    public void Close()
    {
        _file.Dispose();
        _folder.Dispose();
    }

    [Test]
    public void Check_TheModelsOwnConfiguration_Passes() =>
        Assert.That(() => new KimiTensors(GgufKimiConfig.Read(_file)).Check(_file), Throws.Nothing);

    [Test]
    public void Check_FewerLayersThanTheFileHas_NamesATensorBeyond() =>
        AssertRefused(config => config with { LayerCount = 2 }, "blk.2.", "beyond the 2 layers");

    [Test]
    public void Check_MoreLayersThanTheFileHas_NamesTheMissingTensor() =>
        AssertRefused(config => config with { LayerCount = 4 }, "blk.3.attn_norm.weight", "is missing");

    [Test]
    public void Check_AnotherDimension_NamesTensorAndBothShapes() =>
        AssertRefused(config => config with { ValueDimension = 64 }, "attn_v_b.weight", "expected");

    private void AssertRefused(Func<KimiConfig, KimiConfig> change, params string[] words)
    {
        var tensors = new KimiTensors(change(GgufKimiConfig.Read(_file)));

        var refusal = Assert.Throws<ModelFileException>(() => tensors.Check(_file));

        foreach (var word in words)
        {
            Assert.That(refusal!.Message, Does.Contain(word));
        }
    }
}
