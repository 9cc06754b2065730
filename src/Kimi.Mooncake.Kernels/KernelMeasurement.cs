namespace Kimi.Mooncake.Kernels;

/// <summary>What a kernel reached.</summary>
/// <param name="Name">Kernel and dimensions.</param>
/// <param name="Rate">Useful work per second, in <paramref name="Unit"/>.</param>
/// <param name="Unit"><c>GFLOP/s</c> or <c>GB/s</c>, powers of ten.</param>
/// <param name="ShareOfPeak">
/// Rate over the measured multiply-add peak of all threads; null where the unit is another.
/// </param>
/// <param name="Seconds">Duration of a call, the least of several runs.</param>
/// <param name="Spread">Longest less least duration, over the median: what else the machine was busy with.</param>
public sealed record KernelMeasurement(
    string Name, double Rate, string Unit, double? ShareOfPeak, double Seconds, double Spread);
