using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels;

/// <summary>A kernel at some dimensions, to be measured when it is wanted.</summary>
/// <param name="Name">Kernel and dimensions.</param>
/// <param name="Measure">Measures it, in a second or two.</param>
public sealed record KernelCase(string Name, Func<KernelMeasurement> Measure);

/// <summary>
/// Measures what the <see cref="CpuKernels"/> make of this machine, each beside its own roofline.
/// </summary>
/// <remarks>
/// Bytes of a product are the stored weight, its inputs and its outputs, once each. Operations of attention in the
/// expanded form are <c>2 * heads * (nope + rope + value)</c> for each pair of a query and a key that it sees and
/// <c>2 * latent * heads * (nope + value)</c> for each key and value that is made; in the absorbed form
/// <c>2 * heads * (2 * latent + rope)</c> for each pair and <c>2 * latent * heads * (nope + value)</c> for each query.
/// Exponentials count as nothing, and of cached bytes rotated keys as bytes too. Bytes are the stored KV, the
/// up-projections, queries and outputs, once each.
/// </remarks>
public sealed partial class KernelProbe : IDisposable
{
    private const int Runs = 7;
    private const int Seed = 1;

    private readonly CpuKernels _exact;
    private readonly CpuKernels _fast;
    private readonly CpuKernels _repacking;
    private readonly CallTimer _timer;
    private readonly TimeProvider _time;
    private readonly Random _random = new(Seed);
    private MachineLimits? _limits;

    /// <summary>Starts the kernels.</summary>
    /// <param name="options">Threads and instructions; the arithmetic is each kernel's own.</param>
    /// <param name="time">Clock; the system's where null.</param>
    /// <exception cref="PlatformNotSupportedException">The processor or the system lacks the instructions.</exception>
    public KernelProbe(CpuOptions options, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        var stored = options with { PackBytesMax = 0, RepackBytesMax = 0 };
        _exact = new CpuKernels(stored with { Arithmetic = CpuArithmetic.Exact });
        _fast = new CpuKernels(stored with { Arithmetic = CpuArithmetic.Fast });
        _repacking = new CpuKernels(stored with { Arithmetic = CpuArithmetic.Fast, RepackBytesMax = long.MaxValue });
        _time = time ?? TimeProvider.System;
        _timer = new CallTimer(_time);
    }

    /// <summary>The machine's limits, measured when first asked for.</summary>
    public MachineLimits Limits
    {
        get
        {
            if (_limits is null)
            {
                using var machine = new MachineProbe(_fast.ThreadCount, _time);
                _limits = machine.Measure();
            }

            return _limits;
        }
    }

    /// <summary>Name of the measured kernels.</summary>
    public string KernelsName => _fast.Name;

    /// <summary>The instructions that products and attention of rounded values use.</summary>
    public InstructionPath Path => _fast.Options.Path;

    /// <summary>
    /// Products of 1, 8, 64 and 512 rows for each important type, and attention, at the dimensions of layers of
    /// Kimi-K2, of Moonlight and of the model on which speed is compared; about a second each.
    /// </summary>
    public IEnumerable<KernelCase> Cases() => Products().Concat(Attentions());

    /// <inheritdoc />
    public void Dispose()
    {
        _exact.Dispose();
        _fast.Dispose();
        _repacking.Dispose();
        _stored?.Dispose();
        _scales?.Dispose();
    }

    /// <summary>The best that the machine does of the arithmetic that a kernel uses, in GFLOP/s.</summary>
    private double PeakOf(Arithmetic arithmetic)
    {
        // The path of AMX takes tiles for sums of bytes only: those of bfloat16 have another order of additions.
        var int8 = Path == InstructionPath.Amx ? Limits.AmxInt8Gops : Limits.Int8Gops;
        return arithmetic switch
        {
            Arithmetic.Int8 => int8 ?? Limits.Fp32Gflops,
            Arithmetic.Bf16 => Limits.Bf16Gflops ?? Limits.Fp32Gflops,
            _ => Limits.Fp32Gflops,
        };
    }

    private KernelMeasurement Measure(
        string name, Arithmetic arithmetic, double operations, double bytes, Action call)
    {
        var roofline = Roofline.Of(operations, bytes, PeakOf(arithmetic), Limits.ReadGbPerS);
        var time = _timer.Measure(call, Runs);
        var seconds = roofline.Bound == KernelBound.Memory ? time.MedianS : time.LeastS;
        return new KernelMeasurement(
            name, seconds, operations / seconds / 1e9, bytes / seconds / 1e9, roofline.Bound,
            roofline.Seconds / seconds, time.Spread);
    }

    private Matrix Filled(int rows, int columns)
    {
        var matrix = new Matrix(rows, columns);
        for (var row = 0; row < rows; row++)
        {
            foreach (ref var value in matrix.All.Row(row))
            {
                value = (_random.NextSingle() * 2) - 1;
            }
        }

        return matrix;
    }

    /// <summary>What a kernel multiplies.</summary>
    private enum Arithmetic
    {
        Fp32,
        Bf16,
        Int8,
    }
}
