namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class KernelProbeTests
{
    [Test]
    public void Measure_SmallShapes_GivesPositiveRatesAndShares()
    {
        var shape = new AttentionShape(2, 16, 16, 16, 16, 0.2f);
        using var probe = new KernelProbe(2);

        KernelMeasurement[] measurements =
        [
            probe.MeasurePeak(2), probe.MeasureMatMul(16, 32, 32), probe.MeasurePrefill("small", shape, 128, 32),
            probe.MeasureDecode("small", shape, 128, 2),
        ];

        Assert.That(measurements.Select(m => m.Rate), Is.All.Positive);
        Assert.That(measurements.Select(m => m.ShareOfPeak), Is.All.Positive);
        Assert.That(measurements.Select(m => m.Seconds), Is.All.Positive);
        Assert.That(measurements[2].Name, Is.EqualTo("prefill attention, small, context 128, 32 rows"));
    }
}
