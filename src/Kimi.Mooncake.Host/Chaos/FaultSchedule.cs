namespace Kimi.Mooncake.Host.Chaos;

/// <summary>Makes the faults of a run; the same seed, time and processes give the same ones.</summary>
internal static class FaultSchedule
{
    /// <summary>Longest time for which a process stands still.</summary>
    public const double SuspendSecondsMax = 30;

    private const double PauseSecondsMin = 1;
    private const double PauseSecondsMax = 6;
    private const double KilledSecondsMax = 5;
    private const double DroppedSecondsMax = 4;
    private const double DelayedSecondsMax = 10;
    private const double FullSecondsMax = 15;
    private const int DelayMsMin = 5;
    private const int DelayMsMax = 250;

    /// <param name="seed">Makes the schedule.</param>
    /// <param name="duration">Time in which faults begin and end.</param>
    /// <param name="targets">What may be done to whom.</param>
    public static IReadOnlyList<Fault> Create(int seed, TimeSpan duration, IReadOnlyList<FaultTarget> targets)
    {
        var random = new Random(seed);
        var faults = new List<Fault>();
        var freeAt = targets.ToDictionary(target => target.Name, _ => 0.0);
        var at = PauseSecondsMin;
        while (at < duration.TotalSeconds)
        {
            // A process to which something is being done already is left alone.
            var free = targets.Where(target => freeAt[target.Name] <= at).ToList();
            if (free.Count > 0)
            {
                var target = free[random.Next(free.Count)];
                var kind = target.Kinds[random.Next(target.Kinds.Count)];
                var fault = Next(random, at, kind, target.Name, duration.TotalSeconds - at);
                faults.Add(fault);
                freeAt[target.Name] = at + fault.DurationS + PauseSecondsMin;
            }

            at += Between(random, PauseSecondsMin, PauseSecondsMax);
        }

        return faults;
    }

    private static Fault Next(Random random, double at, FaultKind kind, string process, double left)
    {
        var longest = kind switch
        {
            FaultKind.Kill => KilledSecondsMax,
            FaultKind.Suspend => SuspendSecondsMax,
            FaultKind.DropConnections => DroppedSecondsMax,
            FaultKind.DelayConnections => DelayedSecondsMax,
            _ => FullSecondsMax,
        };
        var duration = Between(random, 0, Math.Min(longest, left));
        var delay = kind == FaultKind.DelayConnections ? random.Next(DelayMsMin, DelayMsMax + 1) : 0;
        return new Fault(Math.Round(at, 3), kind, process, Math.Round(duration, 3), delay);
    }

    private static double Between(Random random, double min, double max) => min + (random.NextDouble() * (max - min));
}
