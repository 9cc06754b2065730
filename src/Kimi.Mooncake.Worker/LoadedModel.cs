using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Worker;

/// <summary>A model that was opened, checked and named. Owns the mapped files.</summary>
public sealed class LoadedModel : IDisposable
{
    // Changes whenever rounded products or attention give other bits than they did.
    private const string RoundedArithmetic = "rounded-3";

    // More would push out again what was read first.
    private const double ReadAheadShareMax = 0.75;
    private const int PercentOfAll = 100;

    private LoadedModel(ModelSource source, string id, CpuArithmetic arithmetic)
    {
        Source = source;
        Id = id;
        Arithmetic = arithmetic;
        Fingerprint = arithmetic == CpuArithmetic.Exact
            ? source.Fingerprint()
            : Convert.ToHexStringLower(
                SHA256.HashData(Encoding.UTF8.GetBytes($"{source.Fingerprint()}/{RoundedArithmetic}")));
    }

    /// <summary>Name that requests use.</summary>
    public string Id { get; }

    /// <summary>The open files.</summary>
    public ModelSource Source { get; }

    /// <summary>Dimensions and constants.</summary>
    public KimiConfig Config => Source.Config;

    /// <summary>
    /// What is computed in: <see cref="CpuArithmetic.Fast"/> only where that differs, which it does not for weights in
    /// single or half precision.
    /// </summary>
    public CpuArithmetic Arithmetic { get; }

    /// <summary>64 hexadecimal digits that name the weights and the arithmetic.</summary>
    public string Fingerprint { get; }

    /// <summary>Opens a model as a worker of these options wants its memory.</summary>
    /// <inheritdoc cref="Open(ModelOptions)" />
    public static LoadedModel Open(ModelOptions options, WorkerOptions worker)
    {
        ArgumentNullException.ThrowIfNull(worker);
        HugePages.AreWanted = ParseAuto("worker.huge_pages", worker.HugePages);
        return Open(options);
    }

    /// <summary>Opens a model.</summary>
    /// <exception cref="ModelFileException">
    /// The file is missing or is no readable model; the message names the place.
    /// </exception>
    /// <exception cref="ArgumentException">An option's value is not accepted.</exception>
    public static LoadedModel Open(ModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var arithmetic = ParseArithmetic(options.Arithmetic);
        var readsAhead = ParseAuto("model.read_ahead", options.ReadAhead);
        var source = ModelSource.Open(
            options.Path, new ModelReadOptions { LatentNormEpsilon = (float)options.LatentNormEpsilon });
        try
        {
            if (readsAhead && source.LengthBytes <= ReadAheadShareMax * GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
            {
                source.ReadAhead();
            }

            source.Check();
            var id = options.Id.Length > 0 ? options.Id : source.Config.Name;
            var rounds = source.Tensors.Any(tensor =>
                tensor.TypeName is not (nameof(TensorType.F32) or nameof(TensorType.F16)));
            return new LoadedModel(source, id, rounds ? arithmetic : CpuArithmetic.Exact);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose() => Source.Dispose();

    /// <summary>The kernels that the options ask for.</summary>
    /// <param name="options">Threads, kernel set, instructions, memory for unpacked and repacked weights.</param>
    /// <param name="arithmetic">What to compute in.</param>
    /// <param name="modelBytes">Bytes of the model's files.</param>
    /// <exception cref="ArgumentException">An option's value is not accepted.</exception>
    /// <exception cref="PlatformNotSupportedException">
    /// The processor lacks the instructions asked for, or the system cannot pin threads.
    /// </exception>
    public static IKernels CreateKernels(WorkerOptions options, CpuArithmetic arithmetic, long modelBytes) =>
        options.Kernels switch
        {
            "cpu" => new CpuKernels(new CpuOptions
            {
                ThreadCount = options.Threads,
                PinThreads = options.PinThreads,
                PackBytesMax = options.PackBytesMax,
                RepackBytesMax =
                    GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / PercentOfAll * options.RepackMemoryPercent,
                Arithmetic = arithmetic,
                Path = ParseInstructions(options.Instructions),
            }.ForModel(modelBytes)),
            "reference" when arithmetic == CpuArithmetic.Exact => new ReferenceKernels(),
            "reference" => throw new ArgumentException(
                "worker.kernels is 'reference', which rounds nothing; model.arithmetic must be exact with it",
                nameof(options)),
            _ => throw new ArgumentException(
                $"worker.kernels is '{options.Kernels}'; accepted are cpu and reference", nameof(options)),
        };

    /// <summary>The value of a setting that is <c>auto</c> or <c>off</c>.</summary>
    /// <exception cref="ArgumentException">It is neither.</exception>
    public static bool ParseAuto(string setting, string value) => value switch
    {
        "auto" => true,
        "off" => false,
        _ => throw new ArgumentException($"{setting} is '{value}'; accepted are auto and off", nameof(value)),
    };

    /// <summary>The KV type of a setting's value.</summary>
    /// <param name="value"><c>auto</c>, <c>f32</c>, <c>bf16</c> or <c>q8</c>.</param>
    /// <param name="source">The model.</param>
    /// <param name="arithmetic">What it is computed in.</param>
    /// <exception cref="ArgumentException">The value is none of them.</exception>
    public static KvElementType ParseKvType(string value, ModelSource source, CpuArithmetic arithmetic)
    {
        ArgumentNullException.ThrowIfNull(source);
        return value switch
        {
            "auto" => arithmetic == CpuArithmetic.Fast && RoundsAttention(source)
                ? KvElementType.BF16
                : KvElementType.F32,
            "f32" => KvElementType.F32,
            "bf16" => KvElementType.BF16,
            "q8" => KvElementType.Q8,
            _ => throw new ArgumentException(
                $"worker.kv_type is '{value}'; accepted are auto, f32, bf16 and q8", nameof(value)),
        };
    }

    /// <summary>The arithmetic of a setting's value.</summary>
    /// <exception cref="ArgumentException">It is neither <c>fast</c> nor <c>exact</c>.</exception>
    public static CpuArithmetic ParseArithmetic(string value) => value switch
    {
        "fast" => CpuArithmetic.Fast,
        "exact" => CpuArithmetic.Exact,
        _ => throw new ArgumentException($"model.arithmetic is '{value}'; accepted are fast and exact", nameof(value)),
    };

    /// <summary>The instructions of a setting's value.</summary>
    /// <exception cref="ArgumentException">It names no path.</exception>
    public static InstructionPath ParseInstructions(string value) => value switch
    {
        "auto" => InstructionPaths.Best,
        "portable" => InstructionPath.Portable,
        "avx-vnni" => InstructionPath.AvxVnni,
        "avx512" => InstructionPath.Avx512,
        "amx" => InstructionPath.Amx,
        _ => throw new ArgumentException(
            $"worker.instructions is '{value}'; accepted are auto, portable, avx-vnni, avx512 and amx", nameof(value)),
    };

    private static bool RoundsAttention(ModelSource source) => Enumerable.Range(0, source.Config.LayerCount)
        .Any(layer => !source.AttentionUp(layer, source.Config.AttentionShape).HasFullPrecision);
}
