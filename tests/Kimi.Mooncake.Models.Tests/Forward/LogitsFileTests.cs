using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models.Synthetic;
using Kimi.Mooncake.Models.Tests.Synthetic;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

[TestFixture]
internal sealed class LogitsFileTests
{
    private static readonly int[] Tokens = [.. Enumerable.Range(0, 70).Select(i => i * 53 % 1200)];

    private TemporaryFolder _folder = null!;
    private string _model = "";

    [OneTimeSetUp]
    public void MakeModel()
    {
        _folder = new TemporaryFolder();
        _model = _folder.File("model.gguf");
        SyntheticModel.Write(_model, TinyShape.K2, 1, TensorType.F32);
    }

    [OneTimeTearDown]
    public void TearDown() => _folder.Dispose();

    [TestCase(128, false)]
    [TestCase(7, false)]
    [TestCase(7, true)]
    public void Write_AnyChunk_GivesTheRowOfEveryPosition(int chunk, bool decode)
    {
        // Arrange
        using var session = new ModelSession(_model, new CpuKernels(), 128, 128);
        var expected = session.LogitsAt(Tokens, [.. Enumerable.Range(0, Tokens.Length)], decode ? 1 : 128);
        var path = _folder.File($"logits-{chunk}-{decode}");

        // Act
        var reports = new List<int>();
        using (var source = ModelSource.Open(_model))
        using (var kernels = new CpuKernels())
        {
            LogitsFile.Write(source, kernels, Tokens, path, chunk, decode, progress: new Recorder(reports));
        }

        // Assert
        var values = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path)).ToArray();
        Assert.That(values, Is.EqualTo(expected.SelectMany(row => row)));
        Assert.That(reports[^1], Is.EqualTo(Tokens.Length));
        Assert.That(reports, Has.Count.EqualTo(decode ? 70 : chunk == 7 ? 10 : 1));
    }

    [Test]
    public void Write_TokensThatTheModelHasNot_AreRefusedBeforeAnythingIsWritten()
    {
        using var source = ModelSource.Open(_model);
        using var kernels = new CpuKernels();
        foreach (var (tokens, message) in new (int[], string)[]
        {
            ([], "there are no tokens"), ([1, 1200], "token 1 is 1200; ids are 0 to 1199"),
            ([-1], "token 0 is -1"), (new int[4097], "4097 tokens; the model has 4096 positions"),
        })
        {
            var fault = Assert.Throws<ArgumentException>(() =>
                LogitsFile.Write(source, kernels, tokens, _folder.File("none"), 8, decode: false))!;
            Assert.That(fault.Message, Does.StartWith(message));
        }

        Assert.That(File.Exists(_folder.File("none")), Is.False);
    }

    private sealed class Recorder(List<int> reports) : IProgress<int>
    {
        public void Report(int value) => reports.Add(value);
    }
}
