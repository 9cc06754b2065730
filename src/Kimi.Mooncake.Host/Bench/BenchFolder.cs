namespace Kimi.Mooncake.Host.Bench;

/// <summary>A folder for the model file and store of one benchmark; deleted when disposed.</summary>
internal sealed class BenchFolder : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("mooncake-bench-").FullName;

    public string Store => Path.Combine(_root, "store");

    public string Model => Path.Combine(_root, "model.gguf");

    public void Dispose() => Directory.Delete(_root, recursive: true);
}
