using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels;

/// <summary>What a number of threads can do at best.</summary>
/// <param name="Threads">The threads.</param>
/// <param name="Fp32Gflops">Single precision, thousands of millions of operations per second.</param>
/// <param name="ReadGbPerS">Memory read, thousands of millions of bytes per second.</param>
public sealed record MachineLimits(int Threads, double Fp32Gflops, double ReadGbPerS);

/// <summary>Measures what this machine can do, whatever the kernels make of it.</summary>
public sealed unsafe class MachineProbe : IDisposable
{
    private const int Runs = 30;
    private const int PeakRounds = 2_000_000;
    private const int BandwidthBytes = 256 << 20;

    private readonly CpuKernels _kernels;
    private readonly ShortestTime _clock;

    /// <summary>Starts the threads.</summary>
    /// <param name="threadCount">Threads, 1 to 1024; 0 is one for each core.</param>
    /// <param name="time">Clock; the system's where null.</param>
    public MachineProbe(int threadCount = 0, TimeProvider? time = null)
    {
        _kernels = new CpuKernels(threadCount);
        _clock = new ShortestTime(time ?? TimeProvider.System);
    }

    /// <summary>All limits of all threads, in about two seconds.</summary>
    public MachineLimits Measure()
    {
        var threads = _kernels.ThreadCount;
        return new MachineLimits(threads, MeasureFp32(threads).Rate / 1e9, MeasureRead(threads).Rate / 1e9);
    }

    /// <inheritdoc />
    public void Dispose() => _kernels.Dispose();

    /// <summary>Fused multiply-adds in registers, operations per second.</summary>
    /// <param name="threads">Threads, at most those of the probe.</param>
    internal (double Rate, double Seconds, double Spread) MeasureFp32(int threads)
    {
        TeamTask task = (_, _) => PeakLoops.MultiplyAdd(PeakRounds);
        return Rate((double)PeakRounds * PeakLoops.FlopsPerRound * threads, threads, task);
    }

    /// <summary>Reading memory that no cache holds, bytes per second.</summary>
    /// <param name="threads">Threads, at most those of the probe.</param>
    internal (double Rate, double Seconds, double Spread) MeasureRead(int threads)
    {
        using var buffer = new NativeBuffer(BandwidthBytes);
        buffer.Span(0, BandwidthBytes).Fill(1);
        var values = BandwidthBytes / sizeof(float) / threads / 64 * 64;
        TeamTask task = (index, _) => PeakLoops.Read((float*)buffer.Pointer + ((long)index * values), values);
        return Rate((double)values * sizeof(float) * threads, threads, task);
    }

    private (double Rate, double Seconds, double Spread) Rate(double work, int threads, TeamTask task)
    {
        var (seconds, spread) = _clock.Measure(() => _kernels.Team.Run(task, threads, long.MaxValue), Runs);
        return (work / seconds, seconds, spread);
    }
}
