using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Packed integers that are repacked when they come.</summary>
internal sealed class RepackedInt4Tests
{
    private const ushort ExactScale = 0x3a83;
    private const ushort TinyScale = 0x0083;

    [Test]
    public void Pack_WithRoom_RepacksAndHasTheSameBits(
        [Values(1, 8, 9, 30)] int rows, [Values(InstructionPath.Portable, null)] InstructionPath? path)
    {
        using var tensors = new TestTensors(rows);
        var int4 = Int4(tensors, 70, 416, ExactScale);
        using var storing = Kernels(0, path);
        using var repacking = Kernels(1 << 20, path);
        using var stored = storing.Pack(int4);
        var repacked = repacking.Pack(int4);
        var x = tensors.Matrix(rows, 416);
        var (expected, actual) = (tensors.Matrix(rows, 70), tensors.Matrix(rows, 70));

        storing.MatMul(x.All, stored, expected.All);
        repacking.MatMul(x.All, repacked, actual.All);

        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
        Assert.That(repacking.RepackBytesLeft, Is.InRange((1 << 20) - 16_448, (1 << 20) - 16_380));
        repacked.Dispose();
        Assert.That(repacking.RepackBytesLeft, Is.EqualTo(1 << 20));
    }

    [TestCase(TinyScale, 1 << 20, CpuArithmetic.Fast, TestName = "Pack_ScaleThatIsNoHalf_StaysAsStored")]
    [TestCase((ushort)0x7f80, 1 << 20, CpuArithmetic.Fast, TestName = "Pack_InfiniteScale_StaysAsStored")]
    [TestCase((ushort)0x7fc0, 1 << 20, CpuArithmetic.Fast, TestName = "Pack_ScaleThatIsNoNumber_StaysAsStored")]
    [TestCase(ExactScale, 1000, CpuArithmetic.Fast, TestName = "Pack_WithoutRoom_StaysAsStored")]
    [TestCase(ExactScale, 1 << 20, CpuArithmetic.Exact, TestName = "Pack_InSinglePrecision_StaysAsStored")]
    public void Pack_OtherCases_StayAsStored(ushort lastScale, long room, CpuArithmetic arithmetic)
    {
        using var tensors = new TestTensors(1);
        var int4 = Int4(tensors, 40, 64, lastScale);
        using var kernels = Kernels(room, null, arithmetic);

        using var weight = kernels.Pack(int4);

        Assert.That(kernels.RepackBytesLeft, Is.EqualTo(room));
    }

    [Test]
    public void ForModel_LargerThanTheRoom_RepacksNothing()
    {
        var options = new CpuOptions { RepackBytesMax = 100 };

        Assert.That(options.ForModel(100).RepackBytesMax, Is.EqualTo(100));
        Assert.That(options.ForModel(101).RepackBytesMax, Is.Zero);
    }

    private static CpuKernels Kernels(
        long room, InstructionPath? path, CpuArithmetic arithmetic = CpuArithmetic.Fast) => new(new CpuOptions
        {
            ThreadCount = 2,
            PackBytesMax = 0,
            RepackBytesMax = room,
            Arithmetic = arithmetic,
            Path = path ?? InstructionPaths.Best,
        });

    /// <summary>Random integers; scales that are halves, the last one as wanted.</summary>
    private static TensorData Int4(TestTensors tensors, int rows, int columns, ushort lastScale)
    {
        var words = tensors.Own(new NativeBuffer(rows * columns / 2));
        var scales = tensors.Own(new NativeBuffer(rows * columns / 16));
        foreach (ref var word in words.Span(0, rows * columns / 2))
        {
            word = (byte)tensors.Next(0, 255);
        }

        var values = MemoryMarshal.Cast<byte, ushort>(scales.Span(0, rows * columns / 16));
        foreach (ref var scale in values)
        {
            // From 2^-13 to 2^-5, eight digits.
            scale = (ushort)((tensors.Next(114, 122) << 7) | tensors.Next(0, 127));
        }

        values[^1] = lastScale;
        return TensorData.PackedInt4(
            words.Tensor(0, TensorType.Int4Group32, rows, columns),
            scales.Tensor(0, TensorType.BF16, rows, columns / 32));
    }
}
