using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Core;

/// <summary>
/// CRC-32C (Castagnoli), alone or together with a copy. Where the processor multiplies polynomials in 512-bit vectors,
/// 256 bytes are folded at a time; elsewhere its CRC instruction works on three lanes side by side.
/// </summary>
public static class Crc32C
{
    /// <summary>Value to begin with.</summary>
    public const uint Start = uint.MaxValue;

    private const int FoldBytes = 4 * 64;
    private const int LaneWords = 512;
    private const int StripeWords = 3 * LaneWords;

    // Small enough that what was copied is still in the first cache when it is read again.
    private const int CopyBytes = StripeWords * sizeof(ulong);

    // The polynomial, its lowest power in the highest bit.
    private const uint Polynomial = 0x82F63B78;

    private static readonly uint[] AfterZeroLane = BuildAfterZeroLane();
    private static readonly Vector512<ulong> Fold256 = FoldConstant(FoldBytes);
    private static readonly Vector512<ulong> Fold64 = FoldConstant(64);
    private static readonly Vector512<ulong> Fold16 = FoldConstant(16);

    /// <summary>What a fold does with the bytes it has loaded, besides the checksum.</summary>
    private interface IStore
    {
        static abstract void Store(Vector512<ulong> loaded, ref byte destination, nuint offset);
    }

    private static bool CanFold => Pclmulqdq.V512.IsSupported && Sse42.X64.IsSupported;

    /// <summary>Takes more bytes in.</summary>
    /// <param name="state">What <see cref="Start"/> or an earlier call gave.</param>
    /// <param name="bytes">Any number of bytes.</param>
    /// <returns>The new state.</returns>
    public static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        if (CanFold && bytes.Length >= FoldBytes)
        {
            var folded = bytes.Length & ~(FoldBytes - 1);
            ref var source = ref MemoryMarshal.GetReference(bytes);
            state = Fold<NoStore>(state, ref source, ref source, (nuint)folded);
            bytes = bytes[folded..];
        }

        return AppendLanes(state, bytes);
    }

    /// <summary>Copies bytes and takes them in; the state is that of the bytes that were stored.</summary>
    /// <param name="state">What <see cref="Start"/> or an earlier call gave.</param>
    /// <param name="source">Bytes to copy; may change meanwhile.</param>
    /// <param name="destination">At least as long, not overlapping.</param>
    /// <returns>The new state.</returns>
    /// <exception cref="ArgumentException">The destination is shorter than the source.</exception>
    public static uint Copy(uint state, ReadOnlySpan<byte> source, Span<byte> destination)
    {
        if (destination.Length < source.Length)
        {
            throw new ArgumentException(
                $"{destination.Length} bytes cannot take {source.Length}", nameof(destination));
        }

        if (CanFold && source.Length >= FoldBytes)
        {
            var folded = source.Length & ~(FoldBytes - 1);
            state = Fold<PlainStore>(
                state, ref MemoryMarshal.GetReference(source), ref MemoryMarshal.GetReference(destination),
                (nuint)folded);
            source = source[folded..];
            destination = destination[folded..];
        }

        while (source.Length > 0)
        {
            var length = Math.Min(source.Length, CopyBytes);
            source[..length].CopyTo(destination);
            state = AppendLanes(state, destination[..length]);
            source = source[length..];
            destination = destination[length..];
        }

        return state;
    }

    /// <summary>The checksum of everything taken in.</summary>
    public static uint Finish(uint state) => ~state;

    /// <summary>As <see cref="Append"/>, never in vectors.</summary>
    internal static uint AppendLanes(uint state, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var tail = bytes[(words.Length * sizeof(ulong))..];
        while (words.Length >= StripeWords)
        {
            state = AppendStripe(state, words[..StripeWords]);
            words = words[StripeWords..];
        }

        foreach (var word in words)
        {
            state = BitOperations.Crc32C(state, word);
        }

        foreach (var value in tail)
        {
            state = BitOperations.Crc32C(state, value);
        }

        return state;
    }

    // The instruction takes three cycles and can begin every cycle: three lanes side by side, then joined. The state
    // after a lane of zeros is a linear map of the state before it, and that map is four table look-ups.
    private static uint AppendStripe(uint state, ReadOnlySpan<ulong> stripe)
    {
        var first = stripe[..LaneWords];
        var second = stripe.Slice(LaneWords, LaneWords);
        var third = stripe.Slice(2 * LaneWords, LaneWords);
        uint b = 0;
        uint c = 0;
        for (var i = 0; i < LaneWords; i++)
        {
            state = BitOperations.Crc32C(state, first[i]);
            b = BitOperations.Crc32C(b, second[i]);
            c = BitOperations.Crc32C(c, third[i]);
        }

        return SkipLane(SkipLane(state) ^ b) ^ c;
    }

    private static uint SkipLane(uint state) =>
        AfterZeroLane[state & 0xFF] ^ AfterZeroLane[256 + ((state >> 8) & 0xFF)] ^
        AfterZeroLane[512 + ((state >> 16) & 0xFF)] ^ AfterZeroLane[768 + (state >> 24)];

    private static uint[] BuildAfterZeroLane()
    {
        var table = new uint[4 * 256];
        for (var bit = 0; bit < 32; bit++)
        {
            var state = 1u << bit;
            for (var i = 0; i < LaneWords; i++)
            {
                state = BitOperations.Crc32C(state, 0UL);
            }

            var row = table.AsSpan(bit / 8 * 256, 256);
            for (var value = 0; value < row.Length; value++)
            {
                row[value] ^= (value >> (bit % 8) & 1) == 0 ? 0 : state;
            }
        }

        return table;
    }

    // The length is a multiple of FoldBytes, and not 0. Four vectors are kept; each step moves them on by the length of
    // all four, modulo the polynomial, and adds the next bytes.
    private static uint Fold<TStore>(uint state, ref byte source, ref byte destination, nuint length)
        where TStore : struct, IStore
    {
        var a = Load<TStore>(ref source, ref destination, 0) ^ Vector512.CreateScalar((ulong)state);
        var b = Load<TStore>(ref source, ref destination, 64);
        var c = Load<TStore>(ref source, ref destination, 128);
        var d = Load<TStore>(ref source, ref destination, 192);
        var by256 = Fold256;
        for (nuint at = FoldBytes; at < length; at += FoldBytes)
        {
            a = Moved(a, by256) ^ Load<TStore>(ref source, ref destination, at);
            b = Moved(b, by256) ^ Load<TStore>(ref source, ref destination, at + 64);
            c = Moved(c, by256) ^ Load<TStore>(ref source, ref destination, at + 128);
            d = Moved(d, by256) ^ Load<TStore>(ref source, ref destination, at + 192);
        }

        d ^= Moved(Moved(Moved(a, Fold64) ^ b, Fold64) ^ c, Fold64);
        var by16 = Fold16.GetLower().GetLower();
        var lane = d.GetLower().GetLower();
        lane = Moved(lane, by16) ^ d.GetLower().GetUpper();
        lane = Moved(lane, by16) ^ d.GetUpper().GetLower();
        lane = Moved(lane, by16) ^ d.GetUpper().GetUpper();
        return (uint)Sse42.X64.Crc32(Sse42.X64.Crc32(0, lane.GetElement(0)), lane.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Load<TStore>(ref byte source, ref byte destination, nuint at)
        where TStore : struct, IStore
    {
        var loaded = Vector512.LoadUnsafe(ref source, at).AsUInt64();
        TStore.Store(loaded, ref destination, at);
        return loaded;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Moved(Vector512<ulong> value, Vector512<ulong> by) =>
        Pclmulqdq.V512.CarrylessMultiply(value, by, 0x00) ^ Pclmulqdq.V512.CarrylessMultiply(value, by, 0x11);

    private static Vector128<ulong> Moved(Vector128<ulong> value, Vector128<ulong> by) =>
        Pclmulqdq.CarrylessMultiply(value, by, 0x00) ^ Pclmulqdq.CarrylessMultiply(value, by, 0x11);

    // A 128-bit lane is low * x^64 + high. The product with a 32-bit factor f comes out as f * x^33, whence the powers.
    private static Vector512<ulong> FoldConstant(int bytes) => Vector512.Create(
        Vector256.Create(Vector128.Create((ulong)PowerOfX((bytes * 8) + 31), PowerOfX((bytes * 8) - 33))));

    private static uint PowerOfX(int power)
    {
        var value = 0x8000_0000u;
        for (var i = 0; i < power; i++)
        {
            value = (value >> 1) ^ ((value & 1) == 0 ? 0 : Polynomial);
        }

        return value;
    }

    private readonly struct NoStore : IStore
    {
        public static void Store(Vector512<ulong> loaded, ref byte destination, nuint offset)
        {
        }
    }

    private readonly struct PlainStore : IStore
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Store(Vector512<ulong> loaded, ref byte destination, nuint offset) =>
            loaded.AsByte().StoreUnsafe(ref destination, offset);
    }
}
