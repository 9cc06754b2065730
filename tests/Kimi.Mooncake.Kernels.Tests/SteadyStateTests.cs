using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Tests.Experts;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>No call allocates managed memory once scratch has grown.</summary>
internal sealed class SteadyStateTests
{
    private const int WarmUpSteps = 100;
    private const int Steps = 60;

    [Test]
    [NonParallelizable]
    public void AllOperations_AfterWarmUp_DoNotAllocate(
        [Values(1, 2)] int threads, [Values] bool stored, [Values] CpuArithmetic arithmetic)
    {
        // Arrange
        var shape = new AttentionShape(2, 32, 16, 16, 32, 0.2f);
        const int Rows = 96;
        using var tensors = new TestTensors(5);
        using var kernels = Kernels(threads, stored, arithmetic);
        var (pool, table) = tensors.Pool(shape, 640);
        var projections = tensors.UpProjections(shape);
        using var attention = kernels.PackAttention(projections);
        using var roundedAttention = kernels.PackAttention(AttentionProjections.FromCombined(
            shape, tensors.Stored(TensorType.BF16, shape.HeadCount * 48, shape.LatentRank)));
        var layers = new[] { attention, roundedAttention };
        var weights = Enum.GetValues<TensorType>()
            .Select(type => tensors.Own(kernels.Pack(tensors.Stored(type, 96, 256)))).ToArray();
        var (x, y) = (tensors.Matrix(Rows, 96), tensors.Matrix(Rows, 96));
        var wide = tensors.Matrix(Rows, 256);
        var output = tensors.Matrix(Rows, 32);
        var positions = Enumerable.Range(0, Rows).ToArray();
        var decodeRows = new[] { new DecodeRow(0, 640), new DecodeRow(0, 5) };
        double[] frequencies = [1, 0.1];
        FeedForwardWeight[] experts =
            [.. Enumerable.Range(0, 5).Select(_ => tensors.Network(kernels, tensors.StoredNetwork(96, 64)))];
        using var bank = new ExpertBank(experts[..4], experts[4]);
        var (chosen, chosenWeights) = tensors.Choice(Rows, 2, bank.Experts.Length);
        var gain = new float[96];

        void Step()
        {
            foreach (var weight in weights)
            {
                kernels.MatMul(wide.View(9), weight, y.View(9));
                kernels.MatMul(wide.View(1), weight, y.View(1));
            }

            kernels.MatMulMany(
                wide.View(1),
                new LinearProduct(weights[0], y.View(1)), new LinearProduct(weights[^1], x.View(1), IsAdded: true));
            kernels.FeedForward(x.All, experts[0], y.All);
            foreach (var count in (ReadOnlySpan<int>)[1, 8, Rows])
            {
                kernels.MixtureOfExperts(
                    x.View(count), bank, chosen.AsSpan(0, 2 * count), chosenWeights.AsSpan(0, 2 * count),
                    y.View(count));
            }

            kernels.RmsNorm(x.All, gain, 1e-6f, y.All);
            kernels.SwiGlu(y.All, x.All);
            kernels.Add(x.All, y.All);
            kernels.Rope(x.All, positions, frequencies, 0, 4, 1);
            foreach (var layer in layers)
            {
                kernels.PrefillAttention(layer, pool, 0, table, 640 - Rows, x.All, output.All);
                kernels.DecodeAttention(layer, pool, 0, table, decodeRows, x.View(2), output.View(2));
            }
        }

        // Act
        var allocated = AllocatedAfterWarmUp(Step);

        // Assert
        Assert.That(allocated, Is.Zero);
    }

    [Test]
    [NonParallelizable]
    public void Dispatch_AfterWarmUp_AllocatesOnNoThread()
    {
        using var team = new WorkerTeam(3);
        using var barrier = new Barrier(3);
        var allocated = new long[3];
        TeamTask everyone = (_, _) => barrier.SignalAndWait();
        TeamTask measure = (_, member) =>
        {
            barrier.SignalAndWait();
            allocated[member] = GC.GetAllocatedBytesForCurrentThread();
        };
        TeamTask idle = (_, _) => { };
        team.Run(everyone, 3, long.MaxValue);
        team.Run(idle, 100, long.MaxValue);
        team.Run(measure, 3, long.MaxValue);
        team.Run(measure, 3, long.MaxValue);
        var before = allocated.ToArray();

        for (var i = 0; i < Steps; i++)
        {
            team.Run(idle, 100, long.MaxValue);
        }

        team.Run(measure, 3, long.MaxValue);

        // Less than a byte for each dispatch: the measurement's own barrier may allocate.
        Assert.That(allocated.Zip(before, (now, then) => now - then).Skip(1), Is.All.LessThan(Steps));
    }

    private static CpuKernels Kernels(int threads, bool stored, CpuArithmetic arithmetic) => new(new CpuOptions
    {
        ThreadCount = threads,
        PackBytesMax = stored ? 0 : long.MaxValue,
        Arithmetic = arithmetic,
    });

    private static long AllocatedAfterWarmUp(Action step)
    {
        for (var i = 0; i < WarmUpSteps; i++)
        {
            step();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Steps; i++)
        {
            step();
        }

        return GC.GetAllocatedBytesForCurrentThread() - before;
    }
}
