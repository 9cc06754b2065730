namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Memory for weights that are repacked when a model is loaded: pieces of large buffers, so that small weights lie in
/// huge pages too, of so many bytes in all. A buffer is freed when its last piece has been given back.
/// </summary>
internal sealed unsafe class RepackMemory : IDisposable
{
    private const long BufferBytes = 64L << 20;
    private const long Alignment = 64;

    private readonly Lock _lock = new();
    private long _leftBytes;
    private Buffer? _open;

    /// <param name="bytesMax">Bytes of all pieces, at least 0.</param>
    internal RepackMemory(long bytesMax) => _leftBytes = bytesMax;

    /// <summary>Bytes that may still be taken.</summary>
    internal long LeftBytes
    {
        get
        {
            lock (_lock)
            {
                return _leftBytes;
            }
        }
    }

    /// <summary>A piece of zeros, or of what an earlier piece left; null where that many bytes are not left.</summary>
    /// <param name="sizeBytes">Bytes, at least 1.</param>
    /// <exception cref="OutOfMemoryException">The system has not that much.</exception>
    internal Piece? TryTake(long sizeBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sizeBytes, 1);
        lock (_lock)
        {
            if (sizeBytes > _leftBytes - Alignment)
            {
                return null;
            }

            var taken = (sizeBytes + Alignment - 1) & ~(Alignment - 1);
            if (_open is null || _open.UsedBytes + taken > _open.Memory.SizeBytes)
            {
                Close();
                _open = new Buffer(Math.Max(taken, Math.Min(BufferBytes, _leftBytes)));
            }

            _leftBytes -= taken;
            var piece = new Piece(this, _open, _open.UsedBytes, taken);
            _open.UsedBytes += taken;
            _open.Pieces++;
            return piece;
        }
    }

    /// <summary>Frees what nobody uses; pieces that are still used keep their memory.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            Close();
        }
    }

    private void Close()
    {
        if (_open?.Pieces == 0)
        {
            _open.Memory.Dispose();
        }

        _open = null;
    }

    private void Return(Buffer buffer, long offset, long sizeBytes)
    {
        lock (_lock)
        {
            _leftBytes += sizeBytes;
            buffer.Pieces--;
            if (buffer != _open)
            {
                if (buffer.Pieces == 0)
                {
                    buffer.Memory.Dispose();
                }
            }
            else if (offset + sizeBytes == buffer.UsedBytes)
            {
                // A weight that could not be repacked after all leaves its place to the next.
                buffer.UsedBytes = offset;
            }
        }
    }

    /// <summary>Some of the memory, aligned to 64 bytes.</summary>
    internal sealed class Piece : IDisposable
    {
        private readonly RepackMemory _memory;
        private readonly Buffer _buffer;
        private readonly long _offset;
        private readonly long _sizeBytes;
        private bool _isReturned;

        internal Piece(RepackMemory memory, Buffer buffer, long offset, long sizeBytes) =>
            (_memory, _buffer, _offset, _sizeBytes) = (memory, buffer, offset, sizeBytes);

        /// <summary>First byte; valid until the piece is given back.</summary>
        /// <exception cref="ObjectDisposedException">It was.</exception>
        internal byte* Pointer
        {
            get
            {
                ObjectDisposedException.ThrowIf(_isReturned, this);
                return _buffer.Memory.Pointer + _offset;
            }
        }

        /// <summary>Gives the piece back.</summary>
        public void Dispose()
        {
            if (!_isReturned)
            {
                _isReturned = true;
                _memory.Return(_buffer, _offset, _sizeBytes);
            }
        }
    }

    /// <summary>One allocation of which pieces are taken one after another.</summary>
    internal sealed class Buffer(long sizeBytes)
    {
        internal NativeBuffer Memory { get; } = new(sizeBytes);

        internal long UsedBytes { get; set; }

        internal int Pieces { get; set; }
    }
}
