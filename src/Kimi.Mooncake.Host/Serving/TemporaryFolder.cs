namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// A folder for a model file, a store and what else lives as long as one command; deleted when disposed.
/// </summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("mooncake-").FullName;

    public string Store => Path.Combine(_root, "store");

    public string Tenants => Path.Combine(_root, "tenants.json");

    public string Model => Path.Combine(_root, "model.gguf");

    public void Dispose() => Directory.Delete(_root, recursive: true);
}
