using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>Where each member of a team began to read for a job, and which job came after it the last time.</summary>
internal sealed unsafe class FirstReads(int members)
{
    private readonly nint[] _starts = new nint[members];

    /// <summary>The job that followed the last time; null where none did.</summary>
    internal FirstReads? Next { get; set; }

    /// <summary>The address for a member; null where it has no part, or nobody can know it before.</summary>
    internal byte* this[int member]
    {
        get => (byte*)_starts[member];
        set => _starts[member] = (nint)value;
    }
}

/// <summary>
/// Learns the order in which a team reads: a step of a decode loop has the same jobs as the one before, so that who
/// comes to the end of its share of a job can ask memory for the beginning of the next. Addresses are only asked for,
/// never read: when another job comes, or when the memory is gone meanwhile, that is of no use and does no harm.
/// </summary>
internal sealed unsafe class ReadOrder(int members)
{
    // More than memory brings a member from one job to the next; what a router takes is enough for all of it.
    private const int WaitingBytes = 128 << 10;

    // What the first products of the next job take from the first-level cache; the second one has room for the rest.
    private const int NearBytes = 24 << 10;
    private const int LineBytes = 64;
    private const int LookBytes = 1 << 10;

    private FirstReads? _current;

    /// <summary>A job begins that takes as long as its weights take to be read.</summary>
    /// <param name="known">Kept with what is read first. The caller sets where its members begin.</param>
    internal FirstReads Begin(ref FirstReads? known)
    {
        known ??= new FirstReads(members);
        if (_current is { } before)
        {
            before.Next = known;
        }

        _current = known;
        return known;
    }

    /// <summary>A job begins that takes longer than its reading: there is nothing to be asked for before it.</summary>
    internal void Break() => _current = null;

    /// <summary>
    /// Where a member begins to read after the current job, if the order is that of the last time: in the next one, or
    /// in the one behind where only others have a part in that.
    /// </summary>
    internal byte* After(int member)
    {
        if (_current?.Next is not { } next)
        {
            return null;
        }

        var isOthers = next[member] == null && next[0] != null;
        return !isOthers ? next[member] : next.Next is { } behind ? behind[member] : null;
    }

    /// <summary>For a member that has nothing to do: asks for what it reads next until a job begins.</summary>
    /// <param name="member">The member.</param>
    /// <param name="announced">Number of the last job that was announced.</param>
    /// <param name="seen">Number of the last one that the member knows of.</param>
    internal void AskWaiting(int member, ref uint announced, uint seen)
    {
        var first = After(member);
        if (first == null || !Sse.IsSupported)
        {
            return;
        }

        for (var at = 0; at < WaitingBytes; at += LineBytes)
        {
            if (at % LookBytes == 0 && Volatile.Read(ref announced) != seen)
            {
                return;
            }

            if (at < NearBytes)
            {
                Sse.Prefetch0(first + at);
            }
            else
            {
                Sse.Prefetch1(first + at);
            }
        }
    }
}
