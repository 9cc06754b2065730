using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Worker;

/// <summary>A model file that was opened, checked and named. Owns the file's mapping.</summary>
public sealed class LoadedModel : IDisposable
{
    private LoadedModel(GgufFile file, string id, KimiConfig config, string fingerprint)
    {
        File = file;
        Id = id;
        Config = config;
        Fingerprint = fingerprint;
    }

    /// <summary>Name that requests use.</summary>
    public string Id { get; }

    /// <summary>The open file.</summary>
    public GgufFile File { get; }

    /// <summary>Dimensions and constants.</summary>
    public KimiConfig Config { get; }

    /// <summary>64 hexadecimal digits that name the weights.</summary>
    public string Fingerprint { get; }

    /// <summary>Opens a model.</summary>
    /// <exception cref="ModelFileException">
    /// The file is missing or is no readable model; the message names the place.
    /// </exception>
    public static LoadedModel Open(ModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var file = GgufFile.Open(options.Path);
        try
        {
            var config = GgufKimiConfig.Read(file);
            new KimiTensors(config).Check(file);
            var id = options.Id.Length > 0 ? options.Id : config.Name;
            return new LoadedModel(file, id, config, ModelFingerprint.Compute(file));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose() => File.Dispose();

    internal static IKernels CreateKernels(WorkerOptions options) => options.Kernels switch
    {
        "cpu" => new CpuKernels(options.Threads),
        "reference" => new ReferenceKernels(),
        _ => throw new ArgumentException(
            $"worker.kernels is '{options.Kernels}'; accepted are cpu and reference", nameof(options)),
    };
}
