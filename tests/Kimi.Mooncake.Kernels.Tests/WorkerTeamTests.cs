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

    // Pauses of the caller let the others spin, park, or be about to.
    [Test]
    public void Run_StormsWithPausesBetween_DoesEveryTaskOnce([Values(2, 5)] int threads, [Values(1, 2, 3)] int seed)
    {
        var random = new Random(seed);
        using var team = new WorkerTeam(threads);
        using var pause = new ManualResetEventSlim();
        var counts = new int[257];
        TeamTask job = (task, _) => Interlocked.Increment(ref counts[task]);
        var expected = new int[counts.Length];

        for (var storm = 0; storm < 40; storm++)
        {
            for (var i = random.Next(100); i >= 0; i--)
            {
                var tasks = random.Next(counts.Length + 1);
                team.Run(job, tasks, long.MaxValue);
                for (var task = 0; task < tasks; task++)
                {
                    expected[task]++;
                }
            }

            pause.Wait(random.Next(6));
        }

        Assert.That(counts, Is.EqualTo(expected), $"seed {seed}");
    }

    [Test]
    public void Run_TasksOfOneMemberTakeLong_OthersTakeThem()
    {
        using var team = new WorkerTeam(3);
        using var barrier = new Barrier(3);
        var members = new int[9];

        // A member's own range is three tasks; the three that wait for each other are all in the first one.
        team.Run(
            (task, member) =>
            {
                members[task] = member;
                if (task < 3)
                {
                    barrier.SignalAndWait();
                }
            },
            members.Length,
            long.MaxValue);

        Assert.That(members[..3], Is.Unique);
    }

    [Test]
    public void Run_FewerTasksThanMembers_DoesEachOnce([Range(0, 6)] int tasks)
    {
        using var team = new WorkerTeam(5);
        var done = new int[tasks];

        for (var i = 0; i < 500; i++)
        {
            team.Run((task, _) => Interlocked.Increment(ref done[task]), tasks, long.MaxValue);
        }

        Assert.That(done, Is.All.EqualTo(500));
    }

    [Test]
    public void Run_EveryTaskThrows_ThrowsOneAndServesTheNextJob([Values(1, 3)] int threads)
    {
        using var team = new WorkerTeam(threads);
        var done = 0;

        for (var i = 0; i < 200; i++)
        {
            Assert.That(
                () => team.Run((task, _) => throw new InvalidDataException($"task {task}"), 20, long.MaxValue),
                Throws.TypeOf<InvalidDataException>());
            team.Run((_, _) => Interlocked.Increment(ref done), 20, long.MaxValue);
        }

        Assert.That(done, Is.EqualTo(200 * 20));
    }

    [Test]
    public void Run_MoreTasksThanABoardHolds_IsRefused()
    {
        using var team = new WorkerTeam(2);

        Assert.That(
            () => team.Run((_, _) => { }, TeamBoard.TaskCountMax + 1, long.MaxValue),
            Throws.TypeOf<ArgumentOutOfRangeException>());
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
    public void Dispose_TeamsThatSpinOrJustStarted_EndAndMayBeRepeated()
    {
        for (var i = 0; i < 50; i++)
        {
            var team = new WorkerTeam(4);
            if (i % 2 == 0)
            {
                team.Run((_, _) => { }, 10, long.MaxValue);
            }

            team.Dispose();
            Assert.That(team.Dispose, Throws.Nothing);
        }
    }

    [Test]
    public void TryTake_NumberOfAMultipleOfAMillionJobsAgo_GivesTheCurrentJobsTask()
    {
        const uint Slept = 1 << 20;
        using var board = new TeamBoard(2);
        board.Open(5, 4);

        board.Open(5 + Slept, 4);
        var isTaken = board.TryTakeOwn(1, 5, out var task);

        Assert.That(isTaken, "the words have room for so many numbers only");
        Assert.That(task, Is.EqualTo(2));
        Assert.That(board.NumberFor(1), Is.EqualTo(5 + Slept));
    }

    [Test]
    public void Construction_ThreadCountOutOfRange_IsRefused([Values(-1, WorkerTeam.ThreadCountMax + 1)] int threads) =>
        Assert.That(() => new WorkerTeam(threads), Throws.TypeOf<ArgumentOutOfRangeException>());
}
