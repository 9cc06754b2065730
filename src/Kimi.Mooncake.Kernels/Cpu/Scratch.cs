namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>Native working memory that grows to the largest size asked for and is kept.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private NativeBuffer? _buffer;

    /// <summary>At least this many values; their content is whatever was there.</summary>
    internal float* Take(long values)
    {
        var sizeBytes = Math.Max(values, 1) * sizeof(float);
        if (_buffer is null || _buffer.SizeBytes < sizeBytes)
        {
            _buffer?.Dispose();
            _buffer = null;
            _buffer = new NativeBuffer(sizeBytes);
        }

        return (float*)_buffer.Pointer;
    }

    public void Dispose() => _buffer?.Dispose();
}
