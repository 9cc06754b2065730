using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// An array that grows without being copied as a whole, so that growing never takes long. Small ones are one piece that
/// doubles; from <see cref="ChunkLength"/> elements on a piece is added at a time. A reference to an element is good
/// until the array grows.
/// </summary>
internal sealed class ChunkedArray<T>
    where T : unmanaged
{
    public const int ChunkLength = 1 << ChunkBits;

    private const int ChunkBits = 13;
    private const int FirstLength = 16;

    private T[][] _chunks = [[]];

    /// <summary>Elements that there is room for.</summary>
    public int Length { get; private set; }

    /// <summary>Bytes of managed memory.</summary>
    public long MemoryBytes => ((long)Length * Unsafe.SizeOf<T>()) + ((long)_chunks.Length * Unsafe.SizeOf<nint>());

    public ref T this[int index] => ref _chunks[index >> ChunkBits][index & (ChunkLength - 1)];

    /// <summary>Makes room for at least <paramref name="length"/> elements; new ones are zero.</summary>
    public void Grow(int length)
    {
        while (Length < length)
        {
            if (Length < ChunkLength)
            {
                Length = Math.Max(FirstLength, 2 * Length);
                Array.Resize(ref _chunks[0], Length);
                continue;
            }

            var chunk = Length >> ChunkBits;
            if (chunk == _chunks.Length)
            {
                Array.Resize(ref _chunks, chunk + (chunk >> 2) + 1);
            }

            _chunks[chunk] = new T[ChunkLength];
            Length += ChunkLength;
        }
    }
}
