using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels;

/// <summary>
/// Zeroed, 64-byte aligned native memory with one owner. Pages are mapped by the system when they are first touched
/// where the allocator allows it.
/// </summary>
internal sealed unsafe class NativeBuffer : IDisposable
{
    private const int AlignmentBytes = 64;
    private readonly void* _unaligned;
    private byte* _data;

    /// <summary>Allocates memory.</summary>
    /// <param name="sizeBytes">Bytes, at least 1.</param>
    /// <exception cref="OutOfMemoryException">The system has not that much.</exception>
    public NativeBuffer(long sizeBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sizeBytes, 1);
        SizeBytes = sizeBytes;
        // calloc of a large size maps fresh pages, so that an unused pool costs address space only.
        _unaligned = NativeMemory.AllocZeroed((nuint)sizeBytes + AlignmentBytes);
        var address = ((nuint)_unaligned + AlignmentBytes - 1) & ~(nuint)(AlignmentBytes - 1);
        _data = (byte*)address;
        HugePages.Ask(_data, sizeBytes);
        GC.AddMemoryPressure(sizeBytes);
    }

    /// <summary>Frees the memory if its owner forgot to.</summary>
    ~NativeBuffer() => Free();

    /// <summary>Bytes of the buffer.</summary>
    public long SizeBytes { get; }

    /// <summary>First byte. Callers keep the buffer alive and stay inside it.</summary>
    /// <exception cref="ObjectDisposedException">The buffer was freed.</exception>
    internal byte* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_data == null, this);
            return _data;
        }
    }

    /// <summary>A part of the buffer.</summary>
    public Span<byte> Span(long offset, int length)
    {
        Check(offset, length);
        return new Span<byte>(Pointer + offset, length);
    }

    /// <summary>A stored matrix inside the buffer; valid until the buffer is disposed.</summary>
    public TensorData Tensor(long offset, TensorType type, long rows, int columns)
    {
        Check(offset, TensorData.SizeBytes(type, rows, columns));
        return new TensorData(Pointer + offset, type, rows, columns);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Check(long offset, long length)
    {
        if (offset < 0 || length < 0 || offset > SizeBytes - length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset}+{length} of {SizeBytes}");
        }
    }

    private void Free()
    {
        if (_data != null)
        {
            _data = null;
            NativeMemory.Free(_unaligned);
            GC.RemoveMemoryPressure(SizeBytes);
        }
    }
}
