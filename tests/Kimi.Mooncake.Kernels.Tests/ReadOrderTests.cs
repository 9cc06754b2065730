using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Before a job begins, what it read first the last time is asked for; results do not change.</summary>
internal sealed unsafe class ReadOrderTests
{
    private const int Members = 2;

    [Test]
    public void After_JobsInTheSameOrderAgain_IsWhereTheMemberBeginsTheNext()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[3]);
        Run(order, jobs, 0, 1, 2);

        var seen = Run(order, jobs, 0, 1, 2);

        Assert.That(seen, Is.EqualTo((long[])[Address(1, 1), Address(2, 1), Address(0, 1)]));
    }

    [Test]
    public void After_JobsNeverSeen_IsNull()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[3]);

        Assert.That(order.After(0) == null);
        Assert.That(Run(order, jobs, 0, 1, 2), Is.All.Zero);
    }

    [Test]
    public void After_OrderChanges_FollowsTheLastOne()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[3]);
        Run(order, jobs, 0, 1, 2);
        Run(order, jobs, 0, 2, 1);

        var seen = Run(order, jobs, 0, 2, 1);

        Assert.That(seen, Is.EqualTo((long[])[Address(2, 1), Address(1, 1), Address(0, 1)]));
    }

    [Test]
    public void After_MemberWithoutPartInTheNextJob_IsWhereItBeginsTheOneBehind()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[3]);
        Run(order, jobs, 0, 1, 2);
        jobs[1]![1] = null;

        order.Begin(ref jobs[0]);

        Assert.That((long)order.After(0), Is.EqualTo(Address(1, 0)));
        Assert.That((long)order.After(1), Is.EqualTo(Address(2, 1)));
    }

    [Test]
    public void After_NextJobThatReadsSomethingElseEveryTime_IsNull()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[3]);
        Run(order, jobs, 0, 1, 2);
        jobs[1]![0] = null;
        jobs[1]![1] = null;

        order.Begin(ref jobs[0]);

        Assert.That(order.After(0) == null);
        Assert.That(order.After(1) == null);
    }

    [Test]
    public void Break_BetweenJobs_LeavesNoLinkFromOneToTheOther()
    {
        var (order, jobs) = (new ReadOrder(Members), new FirstReads?[2]);
        Run(order, jobs, 0);
        order.Break();
        Assert.That(order.After(0) == null);
        Run(order, jobs, 1);
        order.Break();

        var seen = Run(order, jobs, 0);

        Assert.That(seen, Is.All.Zero);
    }

    [Test]
    public void MatMul_OrderChangesAndAWeightIsGone_HasTheSameBits(
        [Values(TensorType.Q8_0, TensorType.Q4_K, TensorType.BF16, TensorType.F32)] TensorType type,
        [Values(1, 2, 3)] int threads,
        [Values(1, 8, 24)] int rows)
    {
        // Arrange
        using var tensors = new TestTensors(rows);
        using var kernels = new CpuKernels(
            new CpuOptions { ThreadCount = threads, PackBytesMax = 1 << 20, Arithmetic = CpuArithmetic.Fast });
        var x = tensors.Matrix(rows, 256);
        var passing = new TestTensors(9);
        LinearWeight[] weights =
        [
            tensors.Own(kernels.Pack(tensors.Stored(type, 500, 256))),
            kernels.Pack(passing.Stored(type, 700, 256)),
            tensors.Own(kernels.Pack(tensors.Stored(type, 1000, 256))),
        ];
        var expected = weights.Select(weight => Product(tensors, kernels, x, weight)).ToArray();

        // Act, assert
        foreach (var index in (ReadOnlySpan<int>)[0, 1, 2, 0, 1, 2, 1, 0, 2, 2, 0, 1])
        {
            AssertSame(Product(tensors, kernels, x, weights[index]), expected[index]);
        }

        weights[1].Dispose();
        passing.Dispose();
        foreach (var index in (ReadOnlySpan<int>)[0, 2, 0, 0, 2])
        {
            AssertSame(Product(tensors, kernels, x, weights[index]), expected[index]);
        }
    }

    private static long Address(int job, int member) => (1000 * (job + 1)) + member;

    /// <summary>What member 1 would ask for at the end of each job.</summary>
    private static long[] Run(ReadOrder order, FirstReads?[] jobs, params ReadOnlySpan<int> indices)
    {
        var seen = new long[indices.Length];
        for (var i = 0; i < seen.Length; i++)
        {
            var reads = order.Begin(ref jobs[indices[i]]);
            for (var member = 0; member < Members; member++)
            {
                reads[member] = (byte*)Address(indices[i], member);
            }

            seen[i] = (long)order.After(1);
        }

        return seen;
    }

    private static Matrix Product(TestTensors tensors, CpuKernels kernels, Matrix x, LinearWeight weight)
    {
        var y = tensors.Matrix(x.Rows, weight.OutputSize);
        kernels.MatMul(x.All, weight, y.All);
        return y;
    }

    private static void AssertSame(Matrix actual, Matrix expected) =>
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
}
