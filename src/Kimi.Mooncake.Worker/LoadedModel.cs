using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Worker;

/// <summary>A model that was opened, checked and named. Owns the mapped files.</summary>
public sealed class LoadedModel : IDisposable
{
    private LoadedModel(ModelSource source, string id, string fingerprint)
    {
        Source = source;
        Id = id;
        Fingerprint = fingerprint;
    }

    /// <summary>Name that requests use.</summary>
    public string Id { get; }

    /// <summary>The open files.</summary>
    public ModelSource Source { get; }

    /// <summary>Dimensions and constants.</summary>
    public KimiConfig Config => Source.Config;

    /// <summary>64 hexadecimal digits that name the weights.</summary>
    public string Fingerprint { get; }

    /// <summary>Opens a model.</summary>
    /// <exception cref="ModelFileException">
    /// The file is missing or is no readable model; the message names the place.
    /// </exception>
    public static LoadedModel Open(ModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var source = ModelSource.Open(
            options.Path, new ModelReadOptions { LatentNormEpsilon = (float)options.LatentNormEpsilon });
        try
        {
            source.Check();
            var id = options.Id.Length > 0 ? options.Id : source.Config.Name;
            return new LoadedModel(source, id, source.Fingerprint());
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
    /// <param name="options">Threads, kernel set, memory for unpacked weights.</param>
    /// <param name="modelBytes">Bytes of the model's files.</param>
    public static IKernels CreateKernels(WorkerOptions options, long modelBytes) => options.Kernels switch
    {
        "cpu" => new CpuKernels(
            new CpuOptions { ThreadCount = options.Threads, PackBytesMax = options.PackBytesMax }.ForModel(modelBytes)),
        "reference" => new ReferenceKernels(),
        _ => throw new ArgumentException(
            $"worker.kernels is '{options.Kernels}'; accepted are cpu and reference", nameof(options)),
    };
}
