using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels;

/// <summary>A file mapped into memory for reading; the system loads its pages when they are touched.</summary>
public sealed unsafe partial class MappedFile : IDisposable
{
    private const int WillNeed = 3; // MADV_WILLNEED
    private const int DontNeed = 4; // MADV_DONTNEED
    private const int PopulateRead = 22; // MADV_POPULATE_READ
    private const long PopulatedBytes = 16 << 20;

    private readonly Lock _populating = new();
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
    /// Has the file read in the background, in <see cref="HugePages"/> if they are wanted and where the file's system
    /// has them: what it reads for a request to read ahead would be ordinary pages, so the pages are touched instead.
    /// Nothing depends on whether it is read; outside Linux nothing is asked.
    /// </summary>
    public void ReadAhead()
    {
        ObjectDisposedException.ThrowIf(_data == null, this);
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        if (HugePages.Ask(_data, LengthBytes))
        {
            new Thread(Populate) { IsBackground = true, Name = "read ahead" }.Start();
        }
        else
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
        return new TensorData(_data + offset, type, rows, columns, isFile: true);
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
        lock (_populating)
        {
            if (_data == null)
            {
                return;
            }

            _data = null;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }

    /// <summary>Takes whole pages within a range out of the process; outside Linux they stay.</summary>
    /// <param name="data">First byte, inside a mapped file: memory of other kinds would lose what it holds.</param>
    /// <param name="sizeBytes">Bytes.</param>
    internal static void ReleasePages(byte* data, long sizeBytes)
    {
        var page = (nuint)Environment.SystemPageSize;
        var first = ((nuint)data + page - 1) & ~(page - 1);
        var end = ((nuint)data + (nuint)sizeBytes) & ~(page - 1);
        if (OperatingSystem.IsLinux() && end > first)
        {
            // A refusal costs nothing: the pages stay until the system wants them.
            _ = Advise((void*)first, end - first, DontNeed);
        }
    }

    /// <summary>Piece by piece, as nobody may unmap what is being touched.</summary>
    private void Populate()
    {
        for (var offset = 0L; offset < LengthBytes; offset += PopulatedBytes)
        {
            lock (_populating)
            {
                if (_data == null)
                {
                    return;
                }

                // A kernel that knows no such request (before 5.14) reads the rest as for any other file.
                var count = Math.Min(PopulatedBytes, LengthBytes - offset);
                if (Advise(_data + offset, (nuint)count, PopulateRead) != 0)
                {
                    _ = Advise(_data + offset, (nuint)(LengthBytes - offset), WillNeed);
                    return;
                }
            }
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
