namespace Kimi.Mooncake.Host.Chaos;

/// <summary>What is done to a process.</summary>
internal enum FaultKind
{
    /// <summary><c>kill -9</c>, and a start after a while.</summary>
    Kill,

    /// <summary><c>SIGSTOP</c>, and <c>SIGCONT</c> after a while.</summary>
    Suspend,

    /// <summary>Its connections are broken, and new ones for a while.</summary>
    DropConnections,

    /// <summary>What travels on its connections is late for a while.</summary>
    DelayConnections,

    /// <summary>The disk of its store is full for a while.</summary>
    FillDisk,
}

/// <summary>One fault of a schedule.</summary>
/// <param name="AtS">Seconds from the start.</param>
/// <param name="Kind">What is done.</param>
/// <param name="Process">To whom.</param>
/// <param name="DurationS">How long it lasts.</param>
/// <param name="DelayMs">How late data is; 0 where it is not about that.</param>
internal sealed record Fault(double AtS, FaultKind Kind, string Process, double DurationS, int DelayMs);

/// <summary>A process to which something may be done.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Kinds">What may be done to it.</param>
internal sealed record FaultTarget(string Name, IReadOnlyList<FaultKind> Kinds);
