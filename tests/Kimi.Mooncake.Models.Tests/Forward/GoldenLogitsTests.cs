using System.Runtime.InteropServices;
using System.Text.Json;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

/// <summary>Logits of small random models against those of independent implementations.</summary>
[TestFixture]
internal sealed class GoldenLogitsTests
{
    [Test]
    public void Logits_Of64Tokens_AreWithinTolerance(
        [Values("tiny-F32.gguf", "tiny-BF16.gguf", "tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf")] string model,
        [Values("reference", "cpu", "mapped")] string kernels,
        [Values(64, 13, 1)] int chunk) =>
        CheckLogits(model, kernels, chunk, "ids64.txt", rowErrorMax: 1e-4);

    // Every file, length of chunk and way of keeping weights; together they take most of the project's time.
    [TestCase("tiny-F32.gguf", "cpu", 4096)]
    [TestCase("tiny-F32.gguf", "mapped", 512)]
    [TestCase("tiny-F32.gguf", "cpu", 1)]
    [TestCase("tiny-BF16.gguf", "cpu", 512)]
    [TestCase("tiny-BF16.gguf", "cpu", 13)]
    [TestCase("tiny-Q8_0.gguf", "mapped", 4096)]
    [TestCase("tiny-Q8_0.gguf", "cpu", 13)]
    [TestCase("tiny-Q8_0.gguf", "mapped", 1)]
    [TestCase("tiny-Q4_K_M.gguf", "mapped", 4096)]
    [TestCase("tiny-Q4_K_M.gguf", "cpu", 512)]
    [TestCase("tiny-Q4_K_M.gguf", "mapped", 13)]
    public void Logits_Of4096Tokens_AreWithinTolerance(string model, string kernels, int chunk) =>
        CheckLogits(model, kernels, chunk, "ids4096.txt", rowErrorMax: 1e-3);

    // An eighth of the tokens: the plain kernels need half a minute for all.
    [TestCase("tiny-F32.gguf", 512)]
    public void Logits_OfTheFirst512Of4096Tokens_AreWithinTolerance(string model, int tokens) =>
        CheckLogits(model, "reference", tokens, "ids4096.txt", rowErrorMax: 1e-3, tokens);

    // What another engine that rounds the inputs of products was seen to differ by, as the data say.
    [Test]
    public void Logits_OfRoundedInputs_AreAsCloseAsAllowedOnEveryPath(
        [Values("tiny-BF16.gguf", "tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf")] string model,
        [ValueSource(nameof(Paths))] InstructionPath path)
    {
        var allowed = model switch { "tiny-BF16.gguf" => 0.013, "tiny-Q8_0.gguf" => 0.045, _ => 0.055 };

        var whole = Logits(model, Rounding(path), chunk: 64, "ids64.txt", out var expected);
        var parts = Logits(model, Rounding(path, isRepacked: true), chunk: 13, "ids64.txt", out _);
        var portable = Logits(model, Rounding(InstructionPath.Portable), chunk: 64, "ids64.txt", out _);

        var errors = Errors(whole, expected);
        TestContext.Out.WriteLine($"median {errors[errors.Length / 2]:e2}, greatest {errors[^1]:e2}");
        Assert.Multiple(() =>
        {
            Assert.That(errors[errors.Length / 2], Is.LessThanOrEqualTo(allowed), "median relative error");
            Assert.That(parts, Is.EqualTo(whole), "bits in chunks of 13, repacked");
            Assert.That(portable, Is.EqualTo(whole), "bits on the portable path");
        });
    }

    [TestCase("reference")]
    [TestCase("cpu")]
    [TestCase("mapped")]
    public void GreedyContinuation_OfGoldenPrompts_IsTheSame(string kernels)
    {
        using var manifest = Manifest();
        using var session = Open("tiny-F32.gguf", kernels, rowsMax: 64, tokensMax: 256);
        foreach (var golden in Entry(manifest, "tiny-F32.gguf").GetProperty("greedy").EnumerateArray())
        {
            int[] prompt = [.. golden.GetProperty("prompt_tokens").EnumerateArray().Select(e => e.GetInt32())];
            int[] expected = [.. golden.GetProperty("generated").EnumerateArray().Select(e => e.GetInt32())];

            var actual = session.Greedy(prompt, expected.Length);

            Assert.That(actual, Is.EqualTo(expected));
        }
    }

    private static IEnumerable<InstructionPath> Paths() =>
        Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported);

    private static CpuKernels Rounding(InstructionPath path, bool isRepacked = false) => new(new CpuOptions
    {
        Arithmetic = CpuArithmetic.Fast,
        Path = path,
        RepackBytesMax = isRepacked ? long.MaxValue : 0,
    });

    private static void CheckLogits(
        string model, string kernels, int chunk, string idsFile, double rowErrorMax,
        int tokensMax = int.MaxValue)
    {
        var rows = Logits(model, ModelSession.Kernels(kernels), chunk, idsFile, out var expected, tokensMax);

        var errors = Errors(rows, expected);
        var within = errors.Count(e => e <= rowErrorMax) / (double)errors.Length;
        TestContext.Out.WriteLine($"median {errors[errors.Length / 2]:e2}, within {rowErrorMax:e0}: {within:p1}");
        Assert.Multiple(() =>
        {
            Assert.That(errors[errors.Length / 2], Is.LessThanOrEqualTo(1e-5), "median relative error");
            Assert.That(within, Is.GreaterThanOrEqualTo(0.98), $"share of rows within {rowErrorMax}");
        });
    }

    private static List<float[]> Logits(
        string model, IKernels kernels, int chunk, string idsFile, out float[] expected, int tokensMax = int.MaxValue)
    {
        using var manifest = Manifest();
        var golden = Entry(manifest, model).GetProperty("logits").EnumerateArray()
            .Single(e => e.GetProperty("tokens").GetString() == idsFile);
        int[] positions = [.. golden.GetProperty("positions").EnumerateArray().Select(e => e.GetInt32())];
        positions = [.. positions.Where(position => position < tokensMax)];
        var bytes = File.ReadAllBytes(SharedData.PathOf("golden", golden.GetProperty("file").GetString()!));
        expected = MemoryMarshal.Cast<byte, float>(bytes).ToArray();
        var text = File.ReadAllText(SharedData.PathOf("golden", idsFile));
        var words = text.Split([' ', ',', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
        int[] ids = [.. words.Select(int.Parse).Take(tokensMax)];
        using var session = new ModelSession(
            SharedData.PathOf("golden", model), kernels, rowsMax: Math.Max(chunk, 64), tokensMax: ids.Length);
        return session.LogitsAt(ids, positions, chunk);
    }

    private static double[] Errors(List<float[]> rows, float[] expected) =>
    [
        .. rows.Select((row, i) => RelativeError(row, expected.AsSpan(i * row.Length, row.Length))).Order(),
    ];

    private static double RelativeError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        double difference = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow((double)actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(difference / norm);
    }

    private static ModelSession Open(string model, string kernels, int rowsMax, int tokensMax) =>
        new(SharedData.PathOf("golden", model), ModelSession.Kernels(kernels), rowsMax, tokensMax);

    private static JsonDocument Manifest() =>
        JsonDocument.Parse(File.ReadAllText(SharedData.PathOf("golden", "manifest.json")));

    private static JsonElement Entry(JsonDocument manifest, string model) =>
        manifest.RootElement.GetProperty("models").EnumerateArray()
            .Single(e => e.GetProperty("model").GetString() == model);
}
