using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Exact attention over any KV type has the bits of a pool of singles with the decoded values.</summary>
internal sealed class KvTypesTests
{
    private static readonly KvElementType[] Types = [KvElementType.BF16, KvElementType.Q8];

    // The third is built of whole registers, so that a pool of singles is read in place.
    private static readonly AttentionShape[] Shapes =
    [
        new(2, 13, 6, 5, 11, 0.7f),
        new(3, 20, 16, 24, 130, 0.2f),
        new(2, 16, 16, 16, 64, 0.3f),
    ];

    [Test]
    public void PrefillAttention_OverAnyType_HasTheBitsOfDecodedSingles(
        [ValueSource(nameof(Types))] KvElementType type, [Values(0, 1, 2)] int shape, [Values(1, 3)] int threads)
    {
        using var kernels = new CpuKernels(threads);
        AssertSamePrefill(kernels, type, Shapes[shape], 590, 33);
    }

    [Test]
    public void PrefillAttention_OfTheReference_HasTheBitsOfDecodedSingles(
        [ValueSource(nameof(Types))] KvElementType type)
    {
        using var kernels = new ReferenceKernels();
        AssertSamePrefill(kernels, type, Shapes[1], 30, 9);
    }

    [Test]
    public void DecodeAttention_OverAnyType_HasTheBitsOfDecodedSingles(
        [ValueSource(nameof(Types))] KvElementType type, [Values(0, 1, 2)] int shape, [Values(1, 3)] int threads)
    {
        using var kernels = new CpuKernels(threads);
        AssertSameDecode(kernels, type, Shapes[shape], 1, 17, 256, 1025, 1300);
    }

    [Test]
    public void DecodeAttention_OfTheReference_HasTheBitsOfDecodedSingles(
        [ValueSource(nameof(Types))] KvElementType type)
    {
        using var kernels = new ReferenceKernels();
        AssertSameDecode(kernels, type, Shapes[1], 1, 17, 40);
    }

    private static void AssertSamePrefill(
        IKernels kernels, KvElementType type, AttentionShape shape, int firstPosition, int rows)
    {
        using var tensors = new TestTensors(91);
        var (pool, table) = tensors.Pool(shape, firstPosition + rows, 32, type: type);
        var singles = tensors.Singles(pool, table, firstPosition + rows);
        var q = tensors.Matrix(rows, shape.HeadCount * shape.QueryDimension, 3);
        var (actual, expected) = (tensors.Matrix(rows, Width(shape)), tensors.Matrix(rows, Width(shape)));
        using var weight = kernels.PackAttention(tensors.UpProjections(shape));

        kernels.PrefillAttention(weight, pool, 1, table, firstPosition, q.All, actual.All);
        kernels.PrefillAttention(weight, singles, 1, table, firstPosition, q.All, expected.All);

        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
        Assert.That(float.IsFinite(expected.All.Row(rows - 1)[0]));
    }

    private static void AssertSameDecode(
        IKernels kernels, KvElementType type, AttentionShape shape, params int[] contexts)
    {
        using var tensors = new TestTensors(92);
        var (pool, table) = tensors.Pool(shape, contexts.Max(), 32, type: type);
        var singles = tensors.Singles(pool, table, contexts.Max());
        var rows = contexts.Select(context => new DecodeRow(0, context)).ToArray();
        var q = tensors.Matrix(rows.Length, shape.HeadCount * shape.QueryDimension, 3);
        var actual = tensors.Matrix(rows.Length, Width(shape));
        var expected = tensors.Matrix(rows.Length, Width(shape));
        using var weight = kernels.PackAttention(tensors.UpProjections(shape));

        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, actual.All);
        kernels.DecodeAttention(weight, singles, 1, table, rows, q.All, expected.All);

        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
        Assert.That(float.IsFinite(expected.All.Row(rows.Length - 1)[0]));
    }

    private static int Width(AttentionShape shape) => shape.HeadCount * shape.ValueDimension;
}
