using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;
using NUnit.Framework.Constraints;

namespace Kimi.Mooncake.Kernels.Tests.Experts;

/// <summary>Networks in one operation have the bits of the operations that they are made of.</summary>
internal sealed class FeedForwardTests
{
    private static readonly TensorType[] Types =
        [TensorType.Q8_0, TensorType.Q4_K, TensorType.BF16, TensorType.F32, TensorType.Q6_K, TensorType.F16];

    [Test]
    public void FeedForward_Exact_HasTheBitsOfItsParts(
        [Values(1, 2, 8, 9, 70, 600)] int rows, [Values(1, 2, 5)] int threads, [Values] bool stored)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(threads, stored ? 0 : long.MaxValue);
        var weight = tensors.Network(kernels, tensors.StoredNetwork(70, 150));
        var x = tensors.Matrix(rows, 70);
        var actual = tensors.Matrix(rows, 70);
        var expected = tensors.Copy(actual);

        kernels.FeedForward(x.All, weight, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, weight, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_Exact_HasTheBitsOfItsParts(
        [Values(1, 3, 8, 9, 65, 700)] int rows, [Values(1, 2, 5)] int threads, [Values(0, 1, 2)] int sharedWidth)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(threads, packBytesMax: 0);
        var (bank, chosen, weights) = Bank(tensors, kernels, rows, sharedWidth);
        var x = tensors.Matrix(rows, 100);
        var actual = tensors.Matrix(rows, 100);
        var expected = tensors.Copy(actual);

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, bank, chosen, weights, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    // A result wide enough for tasks that own their columns, whatever the number of threads.
    [TestCase(1, 1)]
    [TestCase(8, 3)]
    [TestCase(300, 2)]
    [TestCase(700, 1)]
    public void MixtureOfExperts_WideResult_HasTheBitsOfItsParts(int rows, int threads)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(threads, packBytesMax: 0);
        const int Size = 421;
        FeedForwardWeight[] experts =
            [.. Enumerable.Range(0, 3).Select(_ => tensors.Network(kernels, tensors.StoredNetwork(Size, 33)))];
        using var bank = new ExpertBank(experts, tensors.Network(kernels, tensors.StoredNetwork(Size, 40)));
        var (chosen, weights) = tensors.Choice(rows, 2, experts.Length);
        var x = tensors.Matrix(rows, Size);
        var actual = tensors.Matrix(rows, Size);
        var expected = tensors.Copy(actual);

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, bank, chosen, weights, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_AllRowsOnOneExpert_HasTheBitsOfItsParts([Values(1, 5, 1100)] int rows)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(2, packBytesMax: 0);
        var (bank, _, _) = Bank(tensors, kernels, rows, sharedWidth: 0);
        var chosen = Enumerable.Repeat(4, rows).ToArray();
        var weights = chosen.Select(_ => tensors.NextValue()).ToArray();
        var x = tensors.Matrix(rows, 100);
        var actual = tensors.Matrix(rows, 100);
        var expected = tensors.Copy(actual);

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, bank, chosen, weights, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_AnyRowsTogether_SameBits(
        [Values(1, 2, 7, 9, 64, 130)] int chunk, [Values] CpuArithmetic arithmetic, [Values(1, 2, 5)] int threads)
    {
        const int Rows = 260;
        using var tensors = new TestTensors(chunk);
        using var kernels = new CpuKernels(
            new CpuOptions { ThreadCount = threads, PackBytesMax = 0, Arithmetic = arithmetic });
        var (bank, chosen, weights) = Bank(tensors, kernels, Rows, sharedWidth: 1, Types);
        var perRow = chosen.Length / Rows;
        var x = tensors.Matrix(Rows, 256);
        var whole = tensors.Matrix(Rows, 256);
        var parts = tensors.Copy(whole);

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, whole.All);
        for (var first = 0; first < Rows; first += chunk)
        {
            var rows = Math.Min(chunk, Rows - first);
            kernels.MixtureOfExperts(
                x.All.Slice(first, rows), bank, chosen.AsSpan(first * perRow, rows * perRow),
                weights.AsSpan(first * perRow, rows * perRow), parts.All.Slice(first, rows));
        }

        Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_SomeOfThemPrecise_HasTheBitsOfItsParts([Values(1, 130, 600)] int rows)
    {
        const int Size = 1024;
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(
            new CpuOptions { ThreadCount = 2, PackBytesMax = 0, Arithmetic = CpuArithmetic.Fast });
        LinearWeight Weight(TensorType type, int outputs, int inputs) =>
            kernels.Pack(tensors.Stored(type, outputs, inputs), isPrecise: true);
        FeedForwardWeight Network(TensorType type) =>
            new(Weight(type, 64, Size), Weight(type, 64, Size), Weight(type, Size, 64));
        using var bank = new ExpertBank([Network(TensorType.Q8_0)], Network(TensorType.BF16));
        var x = tensors.Matrix(rows, Size);
        var actual = tensors.Matrix(rows, Size);
        var expected = tensors.Copy(actual);
        var chosen = new int[rows];
        var weights = chosen.Select(_ => tensors.NextValue()).ToArray();

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, bank, chosen, weights, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_Fast_HasTheBitsOfItsParts([Values(1, 4, 70)] int rows, [Values(1, 3)] int threads)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(
            new CpuOptions { ThreadCount = threads, PackBytesMax = 0, Arithmetic = CpuArithmetic.Fast });
        var (bank, chosen, weights) = Bank(tensors, kernels, rows, sharedWidth: 2, Types);
        var x = tensors.Matrix(rows, 256);
        var actual = tensors.Matrix(rows, 256);
        var expected = tensors.Copy(actual);

        kernels.MixtureOfExperts(x.All, bank, chosen, weights, actual.All);

        using var plain = new PlainFeedForward(kernels);
        plain.Add(x.All, bank, chosen, weights, expected.All);
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MixtureOfExperts_AgainstTheReference_IsClose([Range(1, 30)] int seed)
    {
        using var tensors = new TestTensors(seed);
        using var kernels = new CpuKernels(2, seed % 2 == 0 ? 0 : long.MaxValue);
        using var reference = new ReferenceKernels();
        var (input, inner) = (tensors.Next(1, 90), tensors.Next(1, 90));
        var (rows, experts) = (tensors.Next(1, 40), tensors.Next(1, 9));
        var stored = Enumerable.Range(0, experts).Select(_ => tensors.StoredNetwork(input, inner)).ToArray();
        var (chosen, weights) = tensors.Choice(rows, tensors.Next(0, experts), experts);
        var x = tensors.Matrix(rows, input);
        var actual = tensors.Matrix(rows, input);
        var expected = tensors.Copy(actual);

        foreach (var (set, y) in new (IKernels, Matrix)[] { (kernels, actual), (reference, expected) })
        {
            using var bank = new ExpertBank([.. stored.Select(network => tensors.Network(set, network))], null);
            set.MixtureOfExperts(x.All, bank, chosen, weights, y.All);
            set.FeedForward(x.All, bank.Experts[0], y.All);
        }

        var what = $"seed {seed}: {rows} rows, {experts} experts {input} x {inner}";
        Assert.That(Closeness.RelativeError(actual.All, expected.All), Is.LessThan(1e-5), what);
    }

    [Test]
    public void MixtureOfExperts_BadChoice_IsRefused([Values] bool reference)
    {
        using var tensors = new TestTensors(3);
        using var kernels = reference ? (IKernels)new ReferenceKernels() : new CpuKernels(1);
        var (bank, _, _) = Bank(tensors, kernels, 2, sharedWidth: 0);
        var x = tensors.Matrix(2, 100);

        void Choose(int[] chosen, int weights) =>
            kernels.MixtureOfExperts(x.All, bank, chosen, new float[weights], x.All);

        Assert.Multiple(() =>
        {
            Assert.That(() => Choose([0, 1, 2, 6], 4), Refused("row 1 chose expert 6 of 6"));
            Assert.That(() => Choose([0, -1, 2, 3], 4), Refused("row 0 chose expert -1"));
            Assert.That(() => Choose([0, 1, 3, 3], 4), Refused("row 1 chose expert 3 twice"));
            Assert.That(() => Choose([0, 1, 3], 3), Throws.ArgumentException);
            Assert.That(() => Choose([0, 1], 3), Throws.ArgumentException);
        });
    }

    [Test]
    public void Construction_MatricesThatDoNotFit_IsRefused()
    {
        using var tensors = new TestTensors(4);
        using var kernels = new CpuKernels(1);
        using var wide = kernels.Pack(tensors.Tensor(20, 10));
        using var narrow = kernels.Pack(tensors.Tensor(10, 20));
        using var other = kernels.Pack(tensors.Tensor(10, 19));
        using var small = kernels.Pack(tensors.Tensor(10, 10));
        var network = new FeedForwardWeight(wide, wide, narrow);

        Assert.Multiple(() =>
        {
            Assert.That(() => new FeedForwardWeight(wide, narrow, narrow), Throws.ArgumentException);
            Assert.That(() => new FeedForwardWeight(wide, wide, other), Throws.ArgumentException);
            Assert.That(() => new ExpertBank([], network), Throws.InstanceOf<ArgumentException>());
            Assert.That(
                () => new ExpertBank([network, new FeedForwardWeight(small, small, small)], null),
                Throws.ArgumentException.With.Message.Contains("expert 1"));
            Assert.That(
                () => new ExpertBank([network], new FeedForwardWeight(narrow, narrow, wide)),
                Throws.ArgumentException.With.Message.Contains("shared"));
        });
    }

    private static ContainsConstraint Refused(string why) => Throws.ArgumentException.With.Message.Contains(why);

    /// <summary>Six experts, the last of which nobody chooses.</summary>
    private static (ExpertBank Bank, int[] Chosen, float[] Weights) Bank(
        TestTensors tensors, IKernels kernels, int rows, int sharedWidth, TensorType[]? types = null)
    {
        const int Experts = 6;
        var (size, inner) = types is null ? (100, 50) : (256, 256);
        FeedForwardWeight Network(int width, TensorType type) =>
            tensors.Network(kernels, tensors.StoredNetwork(size, width, type));
        var bank = new ExpertBank(
            [.. Enumerable.Range(0, Experts).Select(e => Network(inner, types?[e] ?? TensorType.F32))],
            sharedWidth == 0 ? null : Network(inner * sharedWidth, types?[0] ?? TensorType.F32));
        var (chosen, weights) = tensors.Choice(rows, 2, Experts - 1);
        return (bank, chosen, weights);
    }
}
