using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>The built-in model's file, written once for all tests.</summary>
[SetUpFixture]
internal sealed class BuiltInModel
{
    public static string Path { get; private set; } = "";

    [OneTimeSetUp]
    public void Write()
    {
        Path = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"mooncake-{Guid.NewGuid():n}.gguf");
        NeedleModel.Write(Path, TensorType.F16);
    }

    [OneTimeTearDown]
    public void Delete() => File.Delete(Path);
}
