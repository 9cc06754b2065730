using System.Text.Json;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests.Needle;

/// <summary>The construction against figures published with the reference construction.</summary>
[TestFixture]
internal sealed class NeedleGoldenTests
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    private JsonElement _golden;

    [OneTimeSetUp]
    public void Load()
    {
        using var stream = File.OpenRead(SharedData.PathOf("needle", "golden.json"));
        _golden = JsonDocument.Parse(stream).RootElement.Clone();
    }

    [Test]
    public void Tensors_InSinglePrecision_HaveThePublishedSums()
    {
        // Arrange
        using var folder = new TemporaryFolder();
        NeedleModel.Write(folder.File("needle.gguf"), TensorType.F32);
        using var file = GgufFile.Open(folder.File("needle.gguf"));
        var tensors = _golden.GetProperty("tensors").Deserialize<Dictionary<string, GoldenSums>>(Options)!;
        Assert.That(tensors, Has.Count.EqualTo(49));

        foreach (var (name, expected) in tensors)
        {
            // Act
            var values = GoldenSums.PublishedValues(file, name, NeedleModel.Config);
            var sums = GoldenSums.Of(expected.Shape, values);

            // Assert
            var tolerance = 1e-9 * Math.Max(1, expected.AbsSum);
            Assert.That(values, Has.Length.EqualTo(expected.Shape.Aggregate(1, (a, b) => a * b)), name);
            Assert.That(sums.Nonzero, Is.EqualTo(expected.Nonzero), name);
            Assert.That(sums.Sum, Is.EqualTo(expected.Sum).Within(tolerance), name);
            Assert.That(sums.AbsSum, Is.EqualTo(expected.AbsSum).Within(tolerance), name);
            Assert.That(sums.WeightedSum, Is.EqualTo(expected.WeightedSum).Within(997 * tolerance), name);
        }
    }

    [Test]
    public void ByteCodes_EveryByte_AreThePublishedOnes() =>
        Assert.That(TokenCodes.OfBytes, Is.EqualTo(_golden.GetProperty("byte_codes").Deserialize<double[][]>()));

    [Test]
    public void PositionKernel_Constants_AreThePublishedOnes()
    {
        var frequencies = _golden.GetProperty("freq").Deserialize<double[]>()!;

        Assert.That(PositionKernel.Frequencies, Is.EqualTo(frequencies).Within(1e-12).Percent);
        Assert.That(NeedleShape.AttentionScale, Is.EqualTo(_golden.GetProperty("scale").GetDouble()).Within(1e-15));
        var center = _golden.GetProperty("calib_center").GetDouble();
        Assert.That(PositionKernel.CalibrationCenter, Is.EqualTo(center).Within(1e-12));
    }
}
