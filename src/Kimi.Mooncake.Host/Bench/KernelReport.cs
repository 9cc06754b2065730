using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>bench kernels</c> prints.</summary>
internal sealed record KernelReport
{
    public required string Processor { get; init; }

    public required IReadOnlyList<string> ProcessorFeatures { get; init; }

    public required string Kernels { get; init; }

    public required InstructionPath Instructions { get; init; }

    /// <summary>Peaks by number of threads; none where only some kernels were asked for.</summary>
    public required IReadOnlyList<MachinePeak> Peaks { get; init; }

    /// <summary>What the rooflines are made of.</summary>
    public required MachineLimits Limits { get; init; }

    public required IReadOnlyList<KernelMeasurement> Measurements { get; init; }

    /// <summary>The built-in model's prefill; null where it was not asked for.</summary>
    public required PrefillMeasurement? Prefill { get; init; }

    public double? PrefillShareOfFp32Peak => Prefill?.Gflops / Limits.Fp32Gflops;
}
