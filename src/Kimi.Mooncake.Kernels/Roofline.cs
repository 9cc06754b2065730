namespace Kimi.Mooncake.Kernels;

/// <summary>What bounds a kernel.</summary>
public enum KernelBound
{
    /// <summary>The arithmetic that it does.</summary>
    Arithmetic,

    /// <summary>The bytes that it must read or write.</summary>
    Memory,
}

/// <summary>The least time in which a machine can do some work: that of the arithmetic or of the bytes.</summary>
/// <param name="Seconds">The longer of the two.</param>
/// <param name="Bound">Which one that is.</param>
internal readonly record struct Roofline(double Seconds, KernelBound Bound)
{
    /// <summary>The roofline of a piece of work.</summary>
    /// <param name="operations">Operations, two for each multiply-add.</param>
    /// <param name="bytes">Bytes that no cache holds.</param>
    /// <param name="gigaOperations">Thousands of millions of operations per second at best.</param>
    /// <param name="gigabytes">Thousands of millions of bytes per second at best.</param>
    public static Roofline Of(double operations, double bytes, double gigaOperations, double gigabytes)
    {
        var (arithmetic, memory) = (operations / gigaOperations / 1e9, bytes / gigabytes / 1e9);
        return arithmetic >= memory
            ? new Roofline(arithmetic, KernelBound.Arithmetic)
            : new Roofline(memory, KernelBound.Memory);
    }
}
