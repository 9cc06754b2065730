using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class WorkerTeamTests
{
    [Test]
    public void Run_ManyJobs_DoesEveryTaskOnce([Values(1, 2, 3, 8)] int threads)
    {
        using var team = new WorkerTeam(threads);
        var counts = new int[100];
        TeamTask job = (task, _) => Interlocked.Increment(ref counts[task]);
        const int Jobs = 2000;

        for (var i = 0; i < Jobs; i++)
        {
            team.Run(job, (i % counts.Length) + 1, long.MaxValue);
        }

        var expected = Enumerable.Range(0, counts.Length).Select(task => Jobs / counts.Length * (counts.Length - task));
        Assert.That(counts, Is.EqualTo(expected));
    }

    [Test]
    public void Run_TasksThatAwaitEachOther_RunOnDifferentMembers()
    {
        using var team = new WorkerTeam(3);
        using var barrier = new Barrier(3);
        var members = new int[3];

        team.Run(
            (task, member) =>
            {
                barrier.SignalAndWait();
                members[task] = member;
            },
            3,
            long.MaxValue);

        Assert.That(members, Is.EquivalentTo(new[] { 0, 1, 2 }));
    }

    [Test]
    public void Run_LittleWork_StaysOnTheCaller()
    {
        using var team = new WorkerTeam(4);
        var caller = Environment.CurrentManagedThreadId;
        var elsewhere = 0;

        team.Run((_, _) => elsewhere += Environment.CurrentManagedThreadId == caller ? 0 : 1, 100, work: 10);

        Assert.That(elsewhere, Is.Zero);
    }

    [Test]
    public void Run_TaskThrows_ThrowsToTheCallerAndServesTheNextJob([Values(1, 3)] int threads)
    {
        using var team = new WorkerTeam(threads);
        TeamTask failing = (task, _) =>
        {
            if (task == 7)
            {
                throw new InvalidDataException("task 7");
            }
        };

        Assert.That(
            () => team.Run(failing, 50, long.MaxValue),
            Throws.TypeOf<InvalidDataException>().With.Message.EqualTo("task 7"));
        var done = 0;
        team.Run((_, _) => Interlocked.Increment(ref done), 50, long.MaxValue);
        Assert.That(done, Is.EqualTo(50));
    }

    [Test]
    public void Run_InsideATask_IsRefused()
    {
        using var team = new WorkerTeam(1);

        Assert.That(
            () => team.Run((_, _) => team.Run((_, _) => { }, 1, 1), 1, 1), Throws.InvalidOperationException);
    }

    [Test]
    public void Dispose_ParkedThreads_EndAndRunIsRefused()
    {
        var team = new WorkerTeam(3);
        team.Run((_, _) => { }, 10, long.MaxValue);

        // Returns only when the threads have ended.
        team.Dispose();

        Assert.That(() => team.Run((_, _) => { }, 1, 1), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Construction_ThreadCountOutOfRange_IsRefused([Values(-1, WorkerTeam.ThreadCountMax + 1)] int threads) =>
        Assert.That(() => new WorkerTeam(threads), Throws.TypeOf<ArgumentOutOfRangeException>());
}
