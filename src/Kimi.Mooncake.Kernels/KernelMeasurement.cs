namespace Kimi.Mooncake.Kernels;

/// <summary>What a kernel reached.</summary>
/// <param name="Name">Kernel and dimensions.</param>
/// <param name="Seconds">
/// Duration of a call: the least of several runs where arithmetic bounds it, the median where memory does.
/// </param>
/// <param name="Gflops">Thousands of millions of operations per second, two for each multiply-add.</param>
/// <param name="GbPerS">Thousands of millions of bytes per second that it must read and write at least.</param>
/// <param name="Bound">What bounds it.</param>
/// <param name="ShareOfRoofline">
/// Least time by the machine's measured limits over its time: of the arithmetic that this kernel uses, and of memory.
/// </param>
/// <param name="Spread">Longest less least duration, over the median: what else the machine was busy with.</param>
public sealed record KernelMeasurement(
    string Name,
    double Seconds,
    double Gflops,
    double GbPerS,
    KernelBound Bound,
    double ShareOfRoofline,
    double Spread);
