using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

[NonParallelizable]
[Platform("Linux")]
internal sealed class ThreadPinningTests
{
    [Test]
    public void Run_Pinned_EachMemberIsOnItsProcessorAndTheCallerIsFreeAfterwards()
    {
        var allowed = ThreadPinning.CurrentProcessors();
        var threads = Math.Min(allowed.Count, 4);
        var seen = new IReadOnlyList<int>[threads];
        using (var team = new WorkerTeam(threads, pinThreads: true))
        {
            using var barrier = new Barrier(threads);
            team.Run(
                (_, member) =>
                {
                    seen[member] = ThreadPinning.CurrentProcessors();
                    barrier.SignalAndWait();
                },
                threads,
                long.MaxValue);
        }

        Assert.Multiple(() =>
        {
            Assert.That(seen, Is.EqualTo(allowed.Take(threads).Select(processor => new[] { processor })));
            Assert.That(ThreadPinning.CurrentProcessors(), Is.EqualTo(allowed));
        });
    }

    [Test]
    public void Run_NotPinned_LeavesTheCallerAlone()
    {
        var allowed = ThreadPinning.CurrentProcessors();
        using var team = new WorkerTeam(1);

        team.Run((_, _) => { }, 1, 1);

        Assert.That(ThreadPinning.CurrentProcessors(), Is.EqualTo(allowed));
    }

    [Test]
    public void Construction_MoreThreadsThanProcessors_SaysHowManyThereAre()
    {
        var allowed = ThreadPinning.CurrentProcessors();

        Assert.That(
            () => new WorkerTeam(allowed.Count + 1, pinThreads: true),
            Throws.ArgumentException.With.Message.Contains($"may use {allowed.Count} processors"));
        Assert.That(ThreadPinning.CurrentProcessors(), Is.EqualTo(allowed));
    }

    [Test]
    public void MatMul_Pinned_SameBits()
    {
        using var tensors = new TestTensors(4);
        using var free = new CpuKernels(1);
        using var pinned = new CpuKernels(new CpuOptions { ThreadCount = 1, PinThreads = true });
        var stored = tensors.Tensor(90, 300);
        var x = tensors.Matrix(40, 300);
        var (a, b) = (tensors.Matrix(40, 90), tensors.Matrix(40, 90));
        using var freeWeight = free.Pack(stored);
        using var pinnedWeight = pinned.Pack(stored);

        free.MatMul(x.All, freeWeight, a.All);
        pinned.MatMul(x.All, pinnedWeight, b.All);

        Assert.That(Closeness.FirstDifferentRow(a.All, b.All), Is.EqualTo(-1));
    }
}
