using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <content>Rounding to bfloat16.</content>
internal sealed unsafe partial class ActivationRows
{
    /// <summary>Rounds a row to bfloat16.</summary>
    /// <param name="x">Values.</param>
    /// <param name="columns">How many.</param>
    /// <param name="target">Receives them, then zeros.</param>
    /// <param name="stride">Values of the target.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void EncodeBf16(float* x, int columns, ushort* target, int stride)
    {
        var column = 0;
        for (; column + (2 * Lanes) <= columns; column += 2 * Lanes)
        {
            Vector512.Narrow(Bf16Bits(Vector512.Load(x + column)), Bf16Bits(Vector512.Load(x + column + Lanes)))
                .Store(target + column);
        }

        for (; column < columns; column++)
        {
            target[column] = (ushort)Bf16Bits(Vector512.CreateScalar(x[column])).ToScalar();
        }

        new Span<ushort>(target + columns, stride - columns).Clear();
    }

    /// <summary>Rounds a row to bfloat16, and what is left of it.</summary>
    /// <param name="x">Values.</param>
    /// <param name="columns">How many.</param>
    /// <param name="target">Receives them, then zeros.</param>
    /// <param name="rest">Values from there to where the rest goes.</param>
    /// <param name="stride">Values of the target.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EncodeBf16Parts(float* x, int columns, ushort* target, long rest, int stride)
    {
        EncodeBf16(x, columns, target, stride);
        var column = 0;
        for (; column + (2 * Lanes) <= columns; column += 2 * Lanes)
        {
            Vector512.Narrow(RestBits(Vector512.Load(x + column)), RestBits(Vector512.Load(x + column + Lanes)))
                .Store(target + rest + column);
        }

        for (; column < columns; column++)
        {
            target[rest + column] = (ushort)RestBits(Vector512.CreateScalar(x[column])).ToScalar();
        }

        new Span<ushort>(target + rest + columns, stride - columns).Clear();
    }

    /// <summary>What rounding to bfloat16 takes away, rounded; nothing where it leaves no number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> RestBits(Vector512<float> x)
    {
        var rounded = Bf16Bits(x) << 16;
        var isNumber = Vector512.LessThan(
            rounded & Vector512.Create(0x7fffffffu), Vector512.Create(0x7f800000u));
        return Vector512.ConditionalSelect(isNumber, Bf16Bits(x - rounded.AsSingle()), Vector512<uint>.Zero);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Bf16Bits(Vector512<float> x)
    {
        var bits = x.AsUInt32();
        var rounded = (bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512<uint>.One)) >> 16;
        var magnitude = bits & Vector512.Create(0x7fffffffu);
        rounded = Vector512.ConditionalSelect(
            Vector512.LessThan(magnitude, Vector512.Create(0x00800000u)), Vector512<uint>.Zero, rounded);
        return Vector512.ConditionalSelect(
            Vector512.GreaterThan(magnitude, Vector512.Create(0x7f800000u)), Vector512.Create(0x7fc0u), rounded);
    }
}
