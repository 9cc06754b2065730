using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels;

/// <summary>A file mapped into memory for reading; the system loads its pages when they are touched.</summary>
public sealed unsafe partial class MappedFile : IDisposable
{
    private const int WillNeed = 3; // MADV_WILLNEED

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _data;

    /// <summary>Maps a file.</summary>
    /// <param name="path">Path of a file of at least one byte.</param>
    /// <exception cref="InvalidDataException">The file is empty.</exception>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public MappedFile(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        LengthBytes = stream.Length;
        if (LengthBytes == 0)
        {
            throw new InvalidDataException($"{path}: the file is empty");
        }

        _file = MemoryMappedFile.CreateFromFile(
            stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        _view = _file.CreateViewAccessor(0, LengthBytes, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _data);
        _data += _view.PointerOffset;
    }

    /// <summary>Bytes of the file.</summary>
    public long LengthBytes { get; }

    /// <summary>
    /// Asks the system to read the file in the background. Nothing depends on whether it does; outside Linux nothing is
    /// asked.
    /// </summary>
    public void ReadAhead()
    {
        ObjectDisposedException.ThrowIf(_data == null, this);
        if (OperatingSystem.IsLinux())
        {
            _ = Advise(_data, (nuint)LengthBytes, WillNeed);
        }
    }

    /// <summary>Some bytes of the file.</summary>
    public ReadOnlySpan<byte> Bytes(long offset, int length)
    {
        Check(offset, length);
        return new ReadOnlySpan<byte>(_data + offset, length);
    }

    /// <summary>A stored matrix inside the file; valid until the file is disposed.</summary>
    public TensorData Tensor(long offset, TensorType type, long rows, int columns)
    {
        Check(offset, TensorData.SizeBytes(type, rows, columns));
        return new TensorData(_data + offset, type, rows, columns);
    }

    /// <summary>
    /// compressed-tensors' words of 32 bits, eight integers of 4 bits in each, the first in the lowest bits; to be
    /// given their scales by <see cref="TensorData.PackedInt4"/>.
    /// </summary>
    /// <param name="offset">First byte.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="wordsPerRow">Words of a row, a multiple of 4.</param>
    /// <exception cref="ArgumentException">A row is no whole number of groups of 32 integers.</exception>
    public TensorData Int4Words(long offset, long rows, int wordsPerRow) =>
        Tensor(offset, TensorType.Int4Group32, rows, checked(wordsPerRow * 8));

    /// <inheritdoc />
    public void Dispose()
    {
        if (_data != null)
        {
            _data = null;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    private void Check(long offset, long length)
    {
        ObjectDisposedException.ThrowIf(_data == null, this);
        if (offset < 0 || length < 0 || offset > LengthBytes - length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset}+{length} of {LengthBytes}");
        }
    }
}
