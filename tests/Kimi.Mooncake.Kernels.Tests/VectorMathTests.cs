using System.Runtime.Intrinsics;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class VectorMathTests
{
    private const double UnitInLastPlace = 1.0 / (1 << 23);

    [Test]
    public void Exp2_WholeRange_IsWithinOneUnit()
    {
        var worst = 0.0;
        for (var x = -125.9f; x < 127; x += 0.00371f)
        {
            var actual = VectorMath.Exp2(Vector512.Create(x)).GetElement(5);
            worst = Math.Max(worst, Math.Abs((actual / Math.Pow(2, x)) - 1));
        }

        Assert.That(worst, Is.LessThan(UnitInLastPlace));
    }

    [Test]
    public void Exp2_SpecialValues_AreExact()
    {
        Assert.That(VectorMath.Exp2(Vector512.Create(float.NegativeInfinity)).GetElement(0), Is.Zero);
        Assert.That(VectorMath.Exp2(Vector512.Create(-1e30f)).GetElement(0), Is.Zero);
        Assert.That(VectorMath.Exp2(Vector512<float>.Zero).GetElement(0), Is.EqualTo(1f));
        Assert.That(VectorMath.Exp2(Vector512.Create(-20f)).GetElement(0), Is.EqualTo(MathF.Pow(2, -20)));
    }

    [Test]
    public void Exp2_AboveTheLargestPower_IsThatPower(
        [Values(127f, 127.6f, 128f, 1000f, 1e30f, float.PositiveInfinity)] float x) =>
        Assert.That(VectorMath.Exp2(Vector512.Create(x)).GetElement(7), Is.EqualTo(MathF.Pow(2, 127)));

    [Test]
    public void Exp_WholeRange_IsWithinTwoUnits()
    {
        var worst = 0.0;
        for (var x = -87f; x < 88; x += 0.00271f)
        {
            var actual = VectorMath.Exp(Vector512.Create(x)).GetElement(15);
            worst = Math.Max(worst, Math.Abs((actual / Math.Exp(x)) - 1));
        }

        Assert.That(worst, Is.LessThan(2 * UnitInLastPlace));
    }

    [Test]
    public void Exp_FarOutside_IsLimited()
    {
        Assert.That(VectorMath.Exp(Vector512.Create(float.NegativeInfinity)).GetElement(0), Is.Zero);
        Assert.That(VectorMath.Exp(Vector512.Create(1e30f)).GetElement(0), Is.EqualTo(1.6516363e38f).Within(1e33f));
    }

    [Test]
    public void SumAndMax_EachLane_Counts()
    {
        for (var lane = 0; lane < Vector512<float>.Count; lane++)
        {
            var values = Vector512.Create(1f).WithElement(lane, 3f);
            Assert.That(VectorMath.Sum(values), Is.EqualTo(18f));
            Assert.That(VectorMath.Max(values), Is.EqualTo(3f));
        }
    }
}
