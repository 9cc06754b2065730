using Kimi.Mooncake.Host.Chaos;

namespace Kimi.Mooncake.Host.Tests.Chaos;

[TestFixture]
internal sealed class FaultScheduleTests
{
    private static readonly FaultTarget[] Targets =
    [
        new("a", [FaultKind.Kill, FaultKind.Suspend, FaultKind.DropConnections, FaultKind.DelayConnections]),
        new("b", [FaultKind.FillDisk]),
        new("c", [FaultKind.Kill]),
    ];

    [Test]
    public void Create_SameSeed_GivesTheSameFaults()
    {
        var duration = TimeSpan.FromMinutes(3);

        var first = FaultSchedule.Create(7, duration, Targets);

        Assert.That(FaultSchedule.Create(7, duration, Targets), Is.EqualTo(first));
        Assert.That(FaultSchedule.Create(8, duration, Targets), Is.Not.EqualTo(first));
    }

    [Test]
    public void Create_AnySeed_KeepsTheBounds([Range(1, 20)] int seed)
    {
        var duration = TimeSpan.FromMinutes(5);

        var faults = FaultSchedule.Create(seed, duration, Targets);

        Assert.That(faults, Has.Count.GreaterThan(30));
        Assert.That(faults.Select(fault => IsWithinBounds(fault, duration)), Is.All.True);

        // Nothing is done to a process while something is.
        foreach (var ofOne in faults.GroupBy(fault => fault.Process))
        {
            Assert.That(
                ofOne.Zip(ofOne.Skip(1), (first, second) => second.AtS > first.AtS + first.DurationS), Is.All.True);
        }
    }

    private static bool IsWithinBounds(Fault fault, TimeSpan duration) =>
        fault.AtS >= 0 && fault.AtS + fault.DurationS <= duration.TotalSeconds + 0.001
        && fault.DurationS <= FaultSchedule.SuspendSecondsMax
        && Targets.Single(target => target.Name == fault.Process).Kinds.Contains(fault.Kind)
        && fault.DelayMs > 0 == (fault.Kind == FaultKind.DelayConnections);
}
