using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>Which model a worker serves.</summary>
public sealed record ModelOptions
{
    /// <summary>Path of the GGUF file.</summary>
    [Setting("GGUF file of the model.")]
    public string Path { get; init; } = "";

    /// <summary>Name that requests use; empty takes the name in the file.</summary>
    [Setting("Name that requests use; empty takes the name in the file.")]
    public string Id { get; init; } = "";
}
