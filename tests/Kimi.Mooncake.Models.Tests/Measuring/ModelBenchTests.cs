using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models.Synthetic;
using Kimi.Mooncake.Models.Tests.Synthetic;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

[TestFixture]
internal sealed class ModelBenchTests
{
    private TemporaryFolder _folder = null!;
    private ModelSource _source = null!;

    [OneTimeSetUp]
    public void MakeModel()
    {
        _folder = new TemporaryFolder();
        var path = _folder.File("model.gguf");
        SyntheticModel.Write(path, TinyShape.K2, 1, TensorType.Q8_0);
        _source = ModelSource.Open(path);
    }

    [OneTimeTearDown]
    public void TearDown()
    {
        _source.Dispose();
        _folder.Dispose();
    }

    [Test]
    public void Run_TinyModel_GivesEveryFigureThatWasAskedFor()
    {
        // Arrange
        var options = new ModelBenchOptions
        {
            PrefillTokens = [24, 8],
            DecodeDepths = [0, 40],
            Sequences = [1, 3],
            DecodeTokens = 4,
            FirstTokenPromptTokens = 5,
            Runs = 2,
            ChunkTokens = 10,
            KvType = KvElementType.BF16,
        };
        var progress = new List<ModelBenchProgress>();
        using var kernels = new CpuKernels(1);

        // Act
        var result = new ModelBench(
            _source, kernels, options, TimeProvider.System, new Recorder(progress)).Run();

        // Assert
        Assert.That(
            result.Prefill.Select(figure => (figure.Sequences, figure.Tokens)),
            Is.EqualTo(new[] { (1, 8), (1, 24), (3, 8), (3, 24) }));
        Assert.That(
            result.Decode.Select(figure => (figure.Sequences, figure.Depth)),
            Is.EqualTo(new[] { (1, 0), (1, 40), (3, 0), (3, 40) }));
        Assert.That(
            result.Prefill[1].Chunks.Select(chunk => (chunk.Position, chunk.Tokens)),
            Is.EqualTo(new[] { (0, 10), (10, 10), (20, 4) }));
        Assert.That(result.Prefill[1].Chunks.Select(chunk => chunk.Seconds), Is.All.Positive);
        Assert.That(result.Prefill[3].Chunks, Is.Empty);
        Assert.That(result.KvBytesPerToken, Is.EqualTo(2 * (64 + 16) * sizeof(ushort)));
        foreach (var rate in result.Prefill.Select(f => f.TokensPerS).Concat(result.Decode.Select(f => f.TokensPerS)))
        {
            Assert.That(rate.Min, Is.Positive.And.LessThanOrEqualTo(rate.Median));
            Assert.That(rate.Max, Is.GreaterThanOrEqualTo(rate.Median));
        }

        // Steps at depth 40 see 41, 42, 43 and 44 positions.
        Assert.That(result.Decode[3].KvBytesPerStep, Is.EqualTo((long)(3 * 42.5 * result.KvBytesPerToken)));
        Assert.That(progress.Select(report => report.Share), Is.Ordered);
        Assert.That(progress[^1].Share, Is.EqualTo(1).Within(1e-9));
    }

    [Test]
    public void Run_OneSequence_ReadsTheBytesOfTheTensorsThatItMeets()
    {
        // Arrange: Q8_0 has 34 bytes for 32 weights; norms and router are in single precision.
        const int Hidden = 256, Queries = 4 * (32 + 16), Values = 4 * 32, Latent = 64;
        const int Attention = (Hidden * 64) + (64 * Queries) + (Hidden * (Latent + 16)) + (Latent * Values)
            + (Latent * 4 * 32) + (Values * Hidden);
        const int Dense = 3 * Hidden * 256;
        const int Experts = 3 * Hidden * 256 * (2 + 1);
        const int Head = 1200 * Hidden;
        const int Stored = ((2 * Attention) + Dense + Experts + Head + Hidden) / 32 * 34;
        const int Norms = sizeof(float) * ((2 * (Hidden + 64 + Latent + Hidden)) + Hidden);
        const int Router = sizeof(float) * ((8 * Hidden) + 8);
        var options = new ModelBenchOptions
        {
            PrefillTokens = [],
            DecodeDepths = [3],
            Sequences = [1],
            DecodeTokens = 2,
            Runs = 1,
            ChunkTokens = 16,
        };
        using var kernels = new CpuKernels(1);

        // Act
        var result = new ModelBench(_source, kernels, options, TimeProvider.System).Run();

        // Assert
        Assert.That(result.Prefill, Is.Empty);
        Assert.That(result.Decode.Single().WeightBytesPerStep, Is.EqualTo(Stored + Norms + Router));
    }

    [Test]
    public void Run_MoreSequencesThanTokensOfAPass_KeepsToThePass()
    {
        var options = new ModelBenchOptions
        {
            PrefillTokens = [5],
            DecodeDepths = [],
            Sequences = [1, 3],
            FirstTokenPromptTokens = 1,
            Runs = 1,
            ChunkTokens = 2,
        };
        using var kernels = new CpuKernels(1);

        var result = new ModelBench(_source, kernels, options, TimeProvider.System).Run();

        Assert.That(result.Prefill[0].Chunks.Select(chunk => chunk.Tokens), Is.EqualTo(new[] { 2, 2, 1 }));
    }

    [Test]
    [Platform("Linux")]
    [NonParallelizable]
    public void Run_Memory_IsReadWhileThePoolIsThere()
    {
        // Arrange: a pool so large that freeing it gives its pages back, and half of it written.
        const int Tokens = 4000;
        var path = _folder.File("wide.gguf");
        SyntheticModel.Write(path, TinyShape.K2 with { KvLoraRank = 960 }, 1, TensorType.Q8_0);
        using var source = ModelSource.Open(path);
        var options = new ModelBenchOptions
        {
            PrefillTokens = [],
            DecodeDepths = [],
            Sequences = [2],
            FirstTokenPromptTokens = Tokens,
            Runs = 1,
            ChunkTokens = 512,
        };
        using var kernels = new CpuKernels(2);

        // Act
        var result = new ModelBench(source, kernels, options, TimeProvider.System).Run();

        // Assert
        var after = ResidentMemory.Read();
        Assert.That(
            result.Memory!.AnonymousBytes - after!.AnonymousBytes,
            Is.GreaterThan(Tokens * result.KvBytesPerToken / 2));
    }

    [Test]
    public void CountExperts_ChosenBySeveralTokens_CountOnce()
    {
        var traffic = new StepTraffic(_source);
        traffic.CountPass(1);
        var always = traffic.Bytes;
        const int Expert = 3 * 256 * 256 / 32 * 34;

        traffic.CountExperts(1, [3, 5, 5, 3, 0]);

        Assert.That(traffic.Bytes - always, Is.EqualTo(3 * Expert));
    }

    [Test]
    public void Run_Cancelled_Ends()
    {
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        using var kernels = new CpuKernels(1);
        var bench = new ModelBench(
            _source, kernels, new ModelBenchOptions { ChunkTokens = 16, PrefillTokens = [64], DecodeDepths = [] },
            TimeProvider.System, null, cancelled.Token);

        Assert.Throws<OperationCanceledException>(() => bench.Run());
    }

    [Test]
    public void Check_OutOfRange_NamesTheValue()
    {
        var fine = new ModelBenchOptions { ChunkTokens = 16, PrefillTokens = [64], DecodeDepths = [0] };
        foreach (var (options, message) in new (ModelBenchOptions, string)[]
        {
            (fine with { PrefillTokens = [64, 0] }, "tokens of a prefill: 0; expected 1 to"),
            (fine with { DecodeDepths = [-1] }, "depth of a decode: -1; expected 0 to"),
            (fine with { Sequences = [65] }, "sequences at once: 65; expected 1 to 64"),
            (fine with { Sequences = [] }, "no numbers of sequences"),
            (fine with { Runs = 0 }, "runs: 0"),
            (fine with { ChunkTokens = 0 }, "tokens of a forward pass: 0"),
            (fine with { DecodeTokens = 0 }, "tokens decoded in a run: 0"),
            (fine with { DecodeDepths = [4090] }, "a sequence of 4122 tokens is asked for; the model has 4096"),
        })
        {
            var fault = Assert.Throws<ArgumentException>(() => options.Check(TinyShape.K2));
            Assert.That(fault.Message, Does.Contain(message));
        }

        Assert.DoesNotThrow(() => fine.Check(TinyShape.K2));
    }

    [TestCase(new[] { 3.0, 1, 2 }, 2, 1, 3)]
    [TestCase(new[] { 4.0, 1, 2, 3 }, 2.5, 1, 4)]
    public void Spread_OfValues_IsMedianLeastAndGreatest(double[] values, double median, double min, double max) =>
        Assert.That(Spread.Of(values), Is.EqualTo(new Spread(median, min, max)));

    private sealed class Recorder(List<ModelBenchProgress> reports) : IProgress<ModelBenchProgress>
    {
        public void Report(ModelBenchProgress value) => reports.Add(value);
    }
}
