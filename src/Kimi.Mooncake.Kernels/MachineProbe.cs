using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels;

/// <summary>What a number of threads can do at best; null is what the machine does not have.</summary>
/// <param name="Threads">The threads.</param>
/// <param name="Fp32Gflops">Multiply-adds in single precision, thousands of millions of operations per second.</param>
/// <param name="Int8Gops">Multiply-adds of bytes with <c>vpdpbusd</c>, 512 bits where there are.</param>
/// <param name="Bf16Gflops">Multiply-adds of bfloat16 with <c>vdpbf16ps</c>.</param>
/// <param name="AmxInt8Gops">Multiply-adds of bytes with AMX.</param>
/// <param name="AmxBf16Gflops">Multiply-adds of bfloat16 with AMX.</param>
/// <param name="ReadGbPerS">Memory read, thousands of millions of bytes per second.</param>
public sealed record MachineLimits(
    int Threads,
    double Fp32Gflops,
    double? Int8Gops,
    double? Bf16Gflops,
    double? AmxInt8Gops,
    double? AmxBf16Gflops,
    double ReadGbPerS);

/// <summary>One thing that the machine can do.</summary>
/// <param name="Name">What, and with how many threads.</param>
/// <param name="Rate">How fast, in <paramref name="Unit"/>; null where the machine has no such thing.</param>
/// <param name="Unit"><c>GFLOP/s</c>, <c>GOP/s</c> or <c>GB/s</c>, powers of ten.</param>
/// <param name="Spread">Longest less least duration, over the median.</param>
public sealed record MachinePeak(string Name, double? Rate, string Unit, double Spread);

/// <summary>Measures what this machine can do, whatever the kernels make of it.</summary>
public sealed unsafe class MachineProbe : IDisposable
{
    private const int Runs = 20;
    private const int PeakRounds = 2_000_000;
    private const int TileRounds = 20_000;
    private const string Flops = "GFLOP/s";
    private const string Operations = "GOP/s";
    private const string Bytes = "GB/s";

    private readonly CpuKernels _kernels;
    private readonly CallTimer _timer;

    /// <summary>Starts the threads.</summary>
    /// <param name="threadCount">Threads, 1 to 1024; 0 is one for each core.</param>
    /// <param name="time">Clock; the system's where null.</param>
    public MachineProbe(int threadCount = 0, TimeProvider? time = null)
    {
        _kernels = new CpuKernels(threadCount);
        _timer = new CallTimer(time ?? TimeProvider.System);
    }

    /// <summary>Bytes that are read: more than any cache holds.</summary>
    internal int BandwidthBytes { get; init; } = 512 << 20;

    private static bool HasAvx512 => InstructionPaths.IsSupported(InstructionPath.Avx512);

    private static bool HasAvxVnni =>
        InstructionPaths.IsSupported(InstructionPath.AvxVnni) && MachineCode.IsSupported;

    private static bool HasAmx => InstructionPaths.IsSupported(InstructionPath.Amx);

    /// <summary>All limits of all threads, in a few seconds.</summary>
    public MachineLimits Measure()
    {
        var threads = _kernels.ThreadCount;
        return new MachineLimits(
            threads,
            Fp32(threads).Rate!.Value,
            Int8(threads).Rate ?? Int8Of256(threads).Rate,
            Bf16(threads).Rate,
            AmxInt8(threads).Rate,
            AmxBf16(threads).Rate,
            Read(threads).Rate!.Value);
    }

    /// <summary>
    /// Everything one by one as the caller asks for it: arithmetic of one thread and of all, memory of 1, 2, 4 threads
    /// and so on up to all.
    /// </summary>
    public IEnumerable<MachinePeak> MeasureAll()
    {
        int[] ends = _kernels.ThreadCount == 1 ? [1] : [1, _kernels.ThreadCount];
        foreach (var threads in ends)
        {
            yield return Fp32(threads);
            yield return Int8(threads);
            yield return Int8Of256(threads);
            yield return Bf16(threads);
            yield return AmxInt8(threads);
            yield return AmxBf16(threads);
        }

        for (var threads = 1; threads < _kernels.ThreadCount; threads *= 2)
        {
            yield return Read(threads);
        }

        yield return Read(_kernels.ThreadCount);
    }

    /// <inheritdoc />
    public void Dispose() => _kernels.Dispose();

    private static string Named(string what, int threads) =>
        threads == 1 ? $"{what}, 1 thread" : $"{what}, {threads} threads";

    private MachinePeak Fp32(int threads)
    {
        TeamTask task = (_, _) => PeakLoops.MultiplyAdd(PeakRounds);
        var time = Time(task, threads);
        var operations = (double)PeakRounds * PeakLoops.FlopsPerRound * threads;
        return new MachinePeak(Named("fp32 multiply-add", threads), operations / time.LeastS / 1e9, Flops, time.Spread);
    }

    private MachinePeak Int8(int threads) => Generated(
        HasAvx512, "int8 vpdpbusd 512 bits", Operations, threads, PeakRoutines.Int8Of512, PeakRounds,
        PeakRoutines.Int8OpsOf512);

    private MachinePeak Int8Of256(int threads) => Generated(
        HasAvxVnni, "int8 vpdpbusd 256 bits", Operations, threads, PeakRoutines.Int8Of256, PeakRounds,
        PeakRoutines.Int8OpsOf256);

    private MachinePeak Bf16(int threads) => Generated(
        InstructionPaths.HasBf16(InstructionPath.Avx512), "bf16 vdpbf16ps 512 bits", Flops, threads,
        PeakRoutines.Bf16Of512, PeakRounds, PeakRoutines.Bf16OpsOf512);

    private MachinePeak AmxInt8(int threads) => Generated(
        HasAmx, "AMX int8", Operations, threads, PeakRoutines.Int8OfTiles, TileRounds, PeakRoutines.Int8OpsOfTiles);

    private MachinePeak AmxBf16(int threads) => Generated(
        AmxSupport.HasBf16, "AMX bf16", Flops, threads, PeakRoutines.Bf16OfTiles, TileRounds,
        PeakRoutines.Bf16OpsOfTiles);

    private MachinePeak Generated(
        bool isThere, string what, string unit, int threads, Func<MachineCode> create, int rounds, int perRound)
    {
        if (!isThere)
        {
            return new MachinePeak(Named(what, threads), null, unit, 0);
        }

        using var code = create();
        TeamTask task = (_, _) =>
        {
            var arguments = new PeakArguments { Rounds = rounds };
            code.Call(&arguments);
        };
        var time = Time(task, threads);
        var operations = (double)rounds * perRound * threads;
        return new MachinePeak(Named(what, threads), operations / time.LeastS / 1e9, unit, time.Spread);
    }

    /// <summary>
    /// Memory that no cache holds. The median counts: machines let short bursts of reads through that they do not keep
    /// up.
    /// </summary>
    private MachinePeak Read(int threads)
    {
        using var buffer = new NativeBuffer(BandwidthBytes);
        buffer.Span(0, BandwidthBytes).Fill(1);
        var values = BandwidthBytes / sizeof(float) / threads / 64 * 64;
        TeamTask task = (index, _) => PeakLoops.Read((float*)buffer.Pointer + ((long)index * values), values);
        var time = Time(task, threads);
        var bytes = (double)values * sizeof(float) * threads;
        return new MachinePeak(Named("memory read", threads), bytes / time.MedianS / 1e9, Bytes, time.Spread);
    }

    private CallTime Time(TeamTask task, int threads) =>
        _timer.Measure(() => _kernels.Team.Run(task, threads, long.MaxValue), Runs);
}
