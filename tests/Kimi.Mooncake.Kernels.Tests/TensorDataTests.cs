using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class TensorDataTests
{
    [Test]
    public void DecodeRow_EveryHalf_IsExact()
    {
        // Arrange: all 65,536 bit patterns, subnormals, infinities and NaNs among them.
        const int Columns = 1 << 16;
        using var buffer = new NativeBuffer(Columns * 2);
        var halves = MemoryMarshal.Cast<byte, ushort>(buffer.Span(0, Columns * 2));
        for (var i = 0; i < Columns; i++)
        {
            halves[i] = (ushort)i;
        }

        var decoded = new float[Columns];

        // Act
        buffer.Tensor(0, TensorType.F16, 1, Columns).DecodeRow(0, decoded);

        // Assert
        var wrong = Enumerable.Range(0, Columns).Where(i => float.IsNaN(HalfByDefinition(i))
            ? !float.IsNaN(decoded[i])
            : BitsOf(decoded[i]) != BitsOf(HalfByDefinition(i)));
        Assert.That(wrong, Is.Empty);
    }

    [Test]
    public void DecodeRow_EveryBrainFloat_IsTheUpperHalfOfASingle()
    {
        const int Columns = 1 << 16;
        using var buffer = new NativeBuffer(Columns * 2);
        var values = MemoryMarshal.Cast<byte, ushort>(buffer.Span(0, Columns * 2));
        for (var i = 0; i < Columns; i++)
        {
            values[i] = (ushort)i;
        }

        var decoded = new float[Columns];
        buffer.Tensor(0, TensorType.BF16, 1, Columns).DecodeRow(0, decoded);

        Assert.That(Enumerable.Range(0, Columns).Where(i => BitsOf(decoded[i]) != (uint)i << 16), Is.Empty);
    }

    [Test]
    public void DecodeRow_SecondRowOfASlice_ReadsThatRow()
    {
        using var buffer = new NativeBuffer(6 * sizeof(float));
        float[] stored = [1, 2, 3, 4, 5, 6];
        stored.CopyTo(MemoryMarshal.Cast<byte, float>(buffer.Span(0, 24)));
        var decoded = new float[2];

        buffer.Tensor(0, TensorType.F32, 3, 2).Slice(1, 2).DecodeRow(1, decoded);

        Assert.That(decoded, Is.EqualTo(new[] { 5f, 6f }));
    }

    [Test]
    public void Access_OutsideTheTensor_IsRefused()
    {
        using var buffer = new NativeBuffer(6 * sizeof(float));
        var decoded = new float[2];

        Assert.That(() => buffer.Tensor(4, TensorType.F32, 3, 2), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(
            () => buffer.Tensor(0, TensorType.F32, 3, 2).Slice(2, 2), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(
            () => buffer.Tensor(0, TensorType.F32, 3, 2).DecodeRow(3, decoded),
            Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    private static uint BitsOf(float value) => BitConverter.SingleToUInt32Bits(value);

    private static float HalfByDefinition(int bits)
    {
        var sign = (bits & 0x8000) == 0 ? 1.0 : -1.0;
        var (exponent, fraction) = ((bits >> 10) & 31, bits & 1023);
        return (float)(exponent switch
        {
            0 => sign * fraction * Math.Pow(2, -24),
            31 => fraction == 0 ? sign * double.PositiveInfinity : double.NaN,
            _ => sign * (1024 + fraction) * Math.Pow(2, exponent - 25),
        });
    }
}
