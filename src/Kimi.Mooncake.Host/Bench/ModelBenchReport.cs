using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>bench model</c> prints: the figures, and what they were measured with.</summary>
internal sealed record ModelBenchReport
{
    public required string Model { get; init; }

    public required string ModelId { get; init; }

    /// <summary>Bytes of the files, all of them mapped.</summary>
    public required long MappedBytes { get; init; }

    public required string Processor { get; init; }

    public required IReadOnlyList<string> ProcessorFeatures { get; init; }

    public required string Kernels { get; init; }

    public required int Threads { get; init; }

    public required CpuArithmetic Arithmetic { get; init; }

    public required InstructionPath Instructions { get; init; }

    public required KvElementType KvType { get; init; }

    /// <summary>What came of asking for huge pages.</summary>
    public required string HugePages { get; init; }

    public required bool PinnedThreads { get; init; }

    public required int ChunkTokens { get; init; }

    public required int Runs { get; init; }

    public required int Seed { get; init; }

    public required MachineLimits Limits { get; init; }

    /// <summary>Seconds to open, check and name the files.</summary>
    public required double OpenS { get; init; }

    /// <summary>Resident bytes after all runs; null where the system does not tell.</summary>
    public required long? ResidentBytes { get; init; }

    /// <summary>Those that no file backs: the KV pool, scratch, the runtime.</summary>
    public required long? AnonymousBytes { get; init; }

    public required ModelBenchResult Result { get; init; }

    /// <summary>
    /// Cost over position in the longest prefill of one sequence; null where that took fewer than three passes.
    /// </summary>
    public required PrefillCurve? PrefillCurve { get; init; }

    public static ModelBenchReport Of(
        LoadedModel model,
        double openS,
        IKernels kernels,
        WorkerOptions worker,
        ModelBenchOptions options,
        MachineLimits limits,
        ModelBenchResult result)
    {
        return new ModelBenchReport
        {
            Model = model.Source.Path,
            ModelId = model.Id,
            MappedBytes = model.Source.LengthBytes,
            Processor = Mooncake.Kernels.ProcessorFeatures.ProcessorName,
            ProcessorFeatures = Mooncake.Kernels.ProcessorFeatures.Names,
            Kernels = kernels.Name,
            Threads = kernels.ThreadCount,
            Arithmetic = model.Arithmetic,
            Instructions = LoadedModel.ParseInstructions(worker.Instructions),
            KvType = options.KvType,
            HugePages = Mooncake.Kernels.HugePages.Describe(),
            PinnedThreads = worker.PinThreads,
            ChunkTokens = options.ChunkTokens,
            Runs = options.Runs,
            Seed = options.Seed,
            Limits = limits,
            OpenS = openS,
            ResidentBytes = result.Memory?.TotalBytes,
            AnonymousBytes = result.Memory?.AnonymousBytes,
            Result = result,
            PrefillCurve = PrefillCurve.OfLongest(model.Config, result.Prefill),
        };
    }
}
