using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>What to ask the memory for meanwhile; there are too many rows for the processor to foresee.</summary>
/// <param name="Ahead">From the rows' bytes to others of the same stride that are wanted soon; 0 is none.</param>
/// <param name="Next">Bytes in a row that are wanted later, from the second-level cache; null is none.</param>
/// <param name="Share">Bytes of those for each block of 32 inputs.</param>
internal readonly unsafe record struct TileFetch(long Ahead, nint Next, int Share);

/// <summary>Sixteen stored rows that are decoded together.</summary>
/// <param name="first">Where the first row's values begin.</param>
/// <param name="stride">Bytes from one row to the next.</param>
/// <param name="fetch">What to ask for meanwhile.</param>
internal readonly unsafe struct TileRows(byte* first, long stride, TileFetch fetch)
{
    private const int LineBytes = 64;
    private readonly TileFetch _fetch = fetch;

    internal byte* First { get; } = first;

    internal long Stride { get; } = stride;

    /// <summary>16 bytes of each row: vector <c>i</c> has their i-th words, one for each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Columns(long offset) => Columns(First + offset, Stride);

    /// <inheritdoc cref="Columns(long)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static WordColumns Columns(byte* first, long stride) =>
        Avx512F.IsSupported ? Columns512(first, stride)
        : Sse2.IsSupported ? Columns128(first, stride)
        : ColumnsByWords(first, stride);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static WordColumns Columns512(byte* first, long stride)
    {
        var r0 = EveryFourth(first, stride);
        var r1 = EveryFourth(first + stride, stride);
        var r2 = EveryFourth(first + (2 * stride), stride);
        var r3 = EveryFourth(first + (3 * stride), stride);
        var low01 = Avx512F.UnpackLow(r0, r1).AsUInt64();
        var high01 = Avx512F.UnpackHigh(r0, r1).AsUInt64();
        var low23 = Avx512F.UnpackLow(r2, r3).AsUInt64();
        var high23 = Avx512F.UnpackHigh(r2, r3).AsUInt64();
        return new WordColumns(
            Avx512F.UnpackLow(low01, low23).AsUInt32(), Avx512F.UnpackHigh(low01, low23).AsUInt32(),
            Avx512F.UnpackLow(high01, high23).AsUInt32(), Avx512F.UnpackHigh(high01, high23).AsUInt32());
    }

    internal static WordColumns Columns128(byte* first, long stride)
    {
        var words = stackalloc uint[64];
        for (var row = 0; row < 16; row += 4)
        {
            var at = first + (row * stride);
            var (r0, r1) = (Vector128.Load((uint*)at), Vector128.Load((uint*)(at + stride)));
            var (r2, r3) = (Vector128.Load((uint*)(at + (2 * stride))), Vector128.Load((uint*)(at + (3 * stride))));
            var (low01, high01) = (Sse2.UnpackLow(r0, r1).AsUInt64(), Sse2.UnpackHigh(r0, r1).AsUInt64());
            var (low23, high23) = (Sse2.UnpackLow(r2, r3).AsUInt64(), Sse2.UnpackHigh(r2, r3).AsUInt64());
            Sse2.UnpackLow(low01, low23).AsUInt32().Store(words + row);
            Sse2.UnpackHigh(low01, low23).AsUInt32().Store(words + 16 + row);
            Sse2.UnpackLow(high01, high23).AsUInt32().Store(words + 32 + row);
            Sse2.UnpackHigh(high01, high23).AsUInt32().Store(words + 48 + row);
        }

        return WordColumns.Load(words);
    }

    internal static WordColumns ColumnsByWords(byte* first, long stride)
    {
        var words = stackalloc uint[64];
        for (var row = 0; row < 16; row++)
        {
            var at = first + (row * stride);
            for (var column = 0; column < 4; column++)
            {
                words[(column * 16) + row] = Unsafe.ReadUnaligned<uint>(at + (column * sizeof(uint)));
            }
        }

        return WordColumns.Load(words);
    }

    /// <summary>A word of each row; 12 bytes behind it are read too.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal Vector512<uint> Words(long offset)
    {
        if (!Avx512F.IsSupported)
        {
            return Columns(offset).W0;
        }

        var at = First + offset;
        var low01 = Avx512F.UnpackLow(EveryFourth(at, Stride), EveryFourth(at + Stride, Stride));
        var low23 = Avx512F.UnpackLow(EveryFourth(at + (2 * Stride), Stride), EveryFourth(at + (3 * Stride), Stride));
        return Avx512F.UnpackLow(low01.AsUInt64(), low23.AsUInt64()).AsUInt32();
    }

    /// <summary>Asks for the share of some of the rows' bytes of what is wanted.</summary>
    /// <param name="block">First block of 32 inputs.</param>
    /// <param name="blocks">Blocks, of less than 64 bytes in a row together.</param>
    /// <param name="offset">Where their bytes begin in the rows, if those were in their order.</param>
    /// <param name="bytes">Their bytes.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Fetch(int block, int blocks, int offset, int bytes)
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        if (_fetch.Next != 0)
        {
            var at = (byte*)_fetch.Next + (block * _fetch.Share);
            for (var end = at + (blocks * _fetch.Share); at < end; at += LineBytes)
            {
                Sse.Prefetch0(at);
            }
        }

        // The end of each 64 bytes is asked for, not the start, so that the line in which a run ends is among them.
        var last = offset + bytes - 1;
        if (_fetch.Ahead != 0 && (last & (LineBytes - 1)) < bytes)
        {
            FetchLines(First + _fetch.Ahead + (last | (LineBytes - 1)), Stride);
        }
    }

    /// <summary>Asks for all the rows' bytes of a run that nobody asked for before.</summary>
    internal void FetchRun(long bytes)
    {
        if (Sse.IsSupported)
        {
            for (var offset = 0L; offset < bytes + LineBytes; offset += LineBytes)
            {
                FetchLines(First + Math.Min(offset, bytes - 1), Stride);
            }
        }
    }

    private static void FetchLines(byte* at, long stride)
    {
        for (var row = 0; row < 16; row += 4)
        {
            Sse.Prefetch0(at);
            Sse.Prefetch0(at + stride);
            Sse.Prefetch0(at + (2 * stride));
            Sse.Prefetch0(at + (3 * stride));
            at += 4 * stride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> EveryFourth(byte* at, long stride)
    {
        // Joining two halves would first insert the lower one into a register that the last round left.
        var rows = Vector128.Load((uint*)at).ToVector256Unsafe().ToVector512Unsafe();
        rows = Avx512F.InsertVector128(rows, Vector128.Load((uint*)(at + (4 * stride))), 1);
        rows = Avx512F.InsertVector128(rows, Vector128.Load((uint*)(at + (8 * stride))), 2);
        return Avx512F.InsertVector128(rows, Vector128.Load((uint*)(at + (12 * stride))), 3);
    }
}

/// <summary>Four words of each of 16 rows, by their place.</summary>
internal readonly unsafe struct WordColumns(
    Vector512<uint> w0, Vector512<uint> w1, Vector512<uint> w2, Vector512<uint> w3)
{
    internal readonly Vector512<uint> W0 = w0;
    internal readonly Vector512<uint> W1 = w1;
    internal readonly Vector512<uint> W2 = w2;
    internal readonly Vector512<uint> W3 = w3;

    internal static WordColumns Load(uint* words) =>
        new(Vector512.Load(words), Vector512.Load(words + 16), Vector512.Load(words + 32), Vector512.Load(words + 48));

    /// <summary>Writes them as four vectors in a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Store(byte* target)
    {
        W0.Store((uint*)target);
        W1.Store((uint*)(target + WeightTile.GroupBytes));
        W2.Store((uint*)(target + (2 * WeightTile.GroupBytes)));
        W3.Store((uint*)(target + (3 * WeightTile.GroupBytes)));
    }

    /// <summary>Their low nibbles as bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Low()
    {
        var mask = Vector512.Create(0x0f0f0f0fu);
        return new WordColumns(W0 & mask, W1 & mask, W2 & mask, W3 & mask);
    }

    /// <summary>Their high nibbles as bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns High() => Bits(4, 0x0f0f0f0fu);

    /// <summary>Bits of them, the lowest one shifted to the right end.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Bits(int shift, uint mask)
    {
        var bits = Vector512.Create(mask);
        return new WordColumns(
            (W0 >>> shift) & bits, (W1 >>> shift) & bits, (W2 >>> shift) & bits, (W3 >>> shift) & bits);
    }

    /// <summary>Bits of them, shifted to the left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Up(int shift) => new(W0 << shift, W1 << shift, W2 << shift, W3 << shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Or(in WordColumns other) =>
        new(W0 | other.W0, W1 | other.W1, W2 | other.W2, W3 | other.W3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal WordColumns Xor(uint mask)
    {
        var bits = Vector512.Create(mask);
        return new WordColumns(W0 ^ bits, W1 ^ bits, W2 ^ bits, W3 ^ bits);
    }
}
