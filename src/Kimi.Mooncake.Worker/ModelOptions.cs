using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>Which model a worker serves.</summary>
public sealed record ModelOptions
{
    /// <summary>Path of the model: a GGUF file, or a folder of safetensors files.</summary>
    [Setting("The model: a GGUF file (any part of a split one), or a folder with config.json and safetensors files.")]
    public string Path { get; init; } = "";

    /// <summary>Name that requests use; empty takes the name in the file.</summary>
    [Setting("Name that requests use; empty takes the name in the file.")]
    public string Id { get; init; } = "";

    /// <summary>Epsilon of the query and key latents' norms.</summary>
    [Setting("Epsilon of the norms of query and key latents; 0 takes 1e-6, with which the published implementation "
        + "computes whatever rms_norm_eps says.", Min = 0, Max = 1)]
    public double LatentNormEpsilon { get; init; }

    /// <summary>Whether the files are read when they are opened: <c>auto</c> or <c>off</c>.</summary>
    [Setting("Read ahead: auto (the system is asked to read the files in the background as they are opened, where they "
        + "fit into three quarters of its memory), or off (pages are read as they are used).")]
    public string ReadAhead { get; init; } = "auto";

    /// <summary>What products and attention are computed in: <c>fast</c> or <c>exact</c>.</summary>
    [Setting("Arithmetic: fast (inputs rounded to bytes or bfloat16 where the weights are), or exact (single precision "
        + "throughout). Cached KV of one is of no use to the other, so all nodes must agree.")]
    public string Arithmetic { get; init; } = "fast";
}
