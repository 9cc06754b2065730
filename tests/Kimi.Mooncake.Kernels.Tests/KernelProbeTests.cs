using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Bf16;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class KernelProbeTests
{
    [Test]
    public void Measure_SmallShapes_GivesPositiveRatesAndShares()
    {
        var shape = new AttentionShape(2, 32, 16, 32, 32, 0.2f);
        using var probe = new KernelProbe(new CpuOptions { ThreadCount = 2 });

        KernelMeasurement[] measurements =
        [
            probe.MeasurePrefill("small", shape, KvElementType.F32, 128, 32),
            probe.MeasurePrefill("small", shape, KvElementType.BF16, 128, 32),
            probe.MeasureDecode("small", shape, KvElementType.F32, 128, 2, setBytes: 1 << 16),
            probe.MeasureDecode("small", shape, KvElementType.BF16, 128, 2, setBytes: 1 << 16),
            probe.MeasureDecode("small", shape, KvElementType.Q8, 128, 2, setBytes: 1 << 16),
            probe.MeasureProduct(TensorType.Q8_0, 64, 64, 2, "small", setBytes: 1 << 16),
            probe.MeasureProduct(TensorType.Int4Group32, 64, 64, 1, "small", setBytes: 1 << 16),
            probe.MeasureProduct(TensorType.F32, 64, 64, 40, "small", setBytes: 1),
            probe.MeasureProduct(TensorType.Int4Group32, 64, 64, 1, "small", setBytes: 1 << 16, isRepacked: true),
            probe.MeasureProduct(TensorType.BF16, 512, 64, 1, "small", setBytes: 1 << 18),
            probe.MeasureProduct(TensorType.BF16, 512, 64, 1, "small", setBytes: 1 << 18, isRepacked: true),
        ];

        Assert.That(measurements.Select(m => m.Seconds), Is.All.Positive);
        Assert.That(measurements.Select(m => m.Gflops), Is.All.Positive);
        Assert.That(measurements.Select(m => m.GbPerS), Is.All.Positive);
        Assert.That(measurements.Select(m => m.ShareOfRoofline), Is.All.Positive);
        Assert.That(measurements[0].Name, Is.EqualTo("prefill attention fp32, context 128, 32 rows, small"));
        Assert.That(measurements[6].Name, Is.EqualTo("product Int4Group32, 1 x 64 x 64, small"));

        Assert.That(measurements[8].Name, Is.EqualTo("product Int4Group32 repacked, 1 x 64 x 64, small"));

        // A product of one row reads 18 bytes for 32 weights, inputs and outputs beside them.
        var (input, output) = (64, 64);
        Assert.That(
            measurements[6].GbPerS / measurements[6].Gflops,
            Is.EqualTo(((18.0 / 32 * input * output) + (4 * (input + output))) / (2.0 * input * output)).Within(1e-6));

        // The same work, and less than three quarters of the bytes where the processor can have it so.
        if (NarrowBf16Format.IsSupported(probe.Path))
        {
            Assert.That(
                measurements[10].GbPerS / measurements[10].Gflops,
                Is.LessThan(0.75 * measurements[9].GbPerS / measurements[9].Gflops));
        }
    }

    [Test]
    public unsafe void WeightSet_OfPackedIntegers_HasScalesOfItsOwnForEveryWeight()
    {
        const int Size = 64;
        const int WeightBytes = Size * Size / 2;
        const int ScaleBytes = Size * Size / 32 * 2;
        using var probe = new KernelProbe(new CpuOptions { ThreadCount = 1 });

        var set = probe.WeightSet(TensorType.Int4Group32, Size, Size, setBytes: 1 << 16);

        Assert.That(set, Has.Length.EqualTo((1 << 16) / (WeightBytes + ScaleBytes)));
        Assert.That(set.Select(weight => weight.StoredBytes), Is.All.EqualTo(WeightBytes + ScaleBytes));
        for (var i = 1; i < set.Length; i++)
        {
            var distance = set[i].Scales.RowOf(0) - set[i - 1].Scales.RowOf(0);
            Assert.That(distance, Is.GreaterThanOrEqualTo(ScaleBytes));
        }
    }

    [Test]
    public void Cases_Names_AreUniqueAndSayWhatTheyMeasure()
    {
        using var probe = new KernelProbe(new CpuOptions { ThreadCount = 1 });

        var names = probe.Cases().Select(found => found.Name).ToArray();

        Assert.That(names, Is.Unique);
        Assert.That(names, Has.Some.EqualTo("product Q8_0, 1 x 7168 x 2048, kimi-k2 expert"));
        Assert.That(names, Has.Some.EqualTo("decode attention bf16, context 8192, 8 rows, kimi-k2"));
        Assert.That(names, Has.Some.EqualTo("decode attention q8, context 8192, 1 rows, kimi-k2"));
        Assert.That(names.Count(name => name.StartsWith("product", StringComparison.Ordinal)), Is.EqualTo(3 * 9 * 4));
    }

    // By hand: 10 operations at 2 a nanosecond take 5 ns, 12 bytes at 3 a nanosecond 4 ns.
    [TestCase(10, 12, 5e-9, KernelBound.Arithmetic)]
    [TestCase(10, 18, 6e-9, KernelBound.Memory)]
    public void Roofline_OfWork_IsTheLongerOfArithmeticAndMemory(
        double operations, double bytes, double seconds, KernelBound bound)
    {
        var roofline = Roofline.Of(operations, bytes, gigaOperations: 2, gigabytes: 3);

        Assert.That(roofline.Seconds, Is.EqualTo(seconds).Within(1e-15));
        Assert.That(roofline.Bound, Is.EqualTo(bound));
    }

    [Test]
    public void MeasureAll_OfTheMachine_GivesEachPeakOrSaysThatItIsAbsent()
    {
        using var machine = new MachineProbe(2) { BandwidthBytes = 16 << 20 };

        var peaks = machine.MeasureAll().ToDictionary(peak => peak.Name);

        Assert.That(peaks["fp32 multiply-add, 1 thread"].Rate, Is.Positive);
        Assert.That(peaks["memory read, 1 thread"].Rate, Is.Positive);
        Assert.That(peaks["memory read, 2 threads"].Rate, Is.Positive);
        var hasAvx512 = InstructionPaths.IsSupported(InstructionPath.Avx512);
        Assert.That(peaks["int8 vpdpbusd 512 bits, 2 threads"].Rate.HasValue, Is.EqualTo(hasAvx512));
        Assert.That(peaks["bf16 vdpbf16ps 512 bits, 2 threads"].Rate.HasValue, Is.EqualTo(hasAvx512));
        Assert.That(
            peaks["AMX int8, 2 threads"].Rate.HasValue, Is.EqualTo(InstructionPaths.IsSupported(InstructionPath.Amx)));
    }

    [Test]
    public void PeakRoutines_OfTiles_AssembleToTheInstructionsThatTheyName()
    {
        if (!MachineCode.IsSupported)
        {
            Assert.Ignore("skipped: generated routines need Linux on x86-64");
        }

        foreach (var (create, mnemonic) in new (Func<MachineCode>, Iced.Intel.Mnemonic)[]
        {
            (PeakRoutines.Int8OfTiles, Iced.Intel.Mnemonic.Tdpbusd),
            (PeakRoutines.Bf16OfTiles, Iced.Intel.Mnemonic.Tdpbf16ps),
            (PeakRoutines.Int8Of512, Iced.Intel.Mnemonic.Vpdpbusd),
            (PeakRoutines.Int8Of256, Iced.Intel.Mnemonic.Vpdpbusd),
            (PeakRoutines.Bf16Of512, Iced.Intel.Mnemonic.Vdpbf16ps),
        })
        {
            using var code = create();
            var decoder = Iced.Intel.Decoder.Create(64, new Iced.Intel.ByteArrayCodeReader(code.Bytes));
            var found = decoder.Select(instruction => instruction.Mnemonic).ToArray();

            var chains = found.Contains(Iced.Intel.Mnemonic.Tilezero) ? 6 : 12;
            Assert.That(found.Count(each => each == mnemonic), Is.EqualTo(chains));
            Assert.That(found, Has.None.EqualTo(Iced.Intel.Mnemonic.INVALID));
            Assert.That(found[^1], Is.EqualTo(Iced.Intel.Mnemonic.Ret));
        }
    }
}
