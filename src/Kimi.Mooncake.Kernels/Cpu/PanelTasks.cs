namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Panels cut into tasks. With few rows they take as long as their weights take to be read: each member of the team has
/// a share of its own then, the same in every step. Tasks are long, as every beginning costs a little, but towards the
/// end of a share each takes half of what is left, so that there is something for others to take and members are ready
/// at the same time.
/// </summary>
internal sealed class PanelTasks(int members)
{
    /// <summary>Most rows for which reading weights takes longer than multiplying them.</summary>
    internal const int FewRows = 24;

    private int[] _first = new int[32];
    private int _perMember;

    /// <summary>Number of tasks: as many for each member where panels are shared, some perhaps without any.</summary>
    internal int Count { get; private set; }

    /// <summary>Most panels of a task.</summary>
    internal int PanelsMax { get; private set; }

    /// <summary>The first panel of a task; that of the task after the last is where they end.</summary>
    internal int First(int task) => _first[task];

    /// <summary>Panels of a task.</summary>
    internal int PanelsOf(int task) => _first[task + 1] - _first[task];

    /// <summary>The member whose share a task belongs to.</summary>
    internal int OwnerOf(int task) => task / _perMember;

    /// <summary>Whether a member's share ends where the task does.</summary>
    internal bool EndsShare(int task) => _first[task + 1] == _first[(OwnerOf(task) + 1) * _perMember];

    /// <summary>Where a member's share of some panels begins; the next one's begins where it ends.</summary>
    internal static int ShareOf(int member, int members, int panels) => TeamBoard.FirstOf(member, members, panels);

    /// <summary>Panels of the next task of a share.</summary>
    /// <param name="left">Panels that are left of the share.</param>
    /// <param name="panelsMax">Most that a task should take.</param>
    /// <param name="isLast">Whether the member's work ends with the share.</param>
    internal static int Next(int left, int panelsMax, bool isLast) =>
        Math.Min(panelsMax, isLast ? (left + 1) / 2 : left);

    /// <summary>Tasks of the largest share; no other one has more.</summary>
    /// <inheritdoc cref="Next"/>
    internal static int CountOf(int panels, int members, int panelsMax, bool isLast)
    {
        var count = 0;
        for (var left = (panels + members - 1) / members; left > 0; count++)
        {
            left -= Next(left, panelsMax, isLast);
        }

        return count;
    }

    /// <summary>Gives members shares.</summary>
    /// <param name="panels">Panels of one or several weights, one after another.</param>
    /// <param name="panelsMax">Most that a task should take, at least 1.</param>
    internal void Share(int panels, int panelsMax)
    {
        _perMember = CountOf(panels, members, panelsMax, isLast: true);
        Begin(members * _perMember);
        var task = 0;
        for (var member = 0; member < members; member++)
        {
            var panel = ShareOf(member, members, panels);
            var end = ShareOf(member + 1, members, panels);
            for (var i = 0; i < _perMember; i++)
            {
                var count = Next(end - panel, panelsMax, isLast: true);
                PanelsMax = Math.Max(PanelsMax, count);
                _first[task++] = panel;
                panel += count;
            }
        }

        _first[task] = panels;
    }

    /// <summary>Cuts panels evenly.</summary>
    /// <inheritdoc cref="Share"/>
    internal void Cut(int panels, int panelsMax)
    {
        Begin((panels + panelsMax - 1) / panelsMax);
        PanelsMax = panelsMax;
        for (var task = 0; task < Count; task++)
        {
            _first[task] = task * panelsMax;
        }

        _first[Count] = panels;
    }

    private void Begin(int count)
    {
        (Count, PanelsMax) = (count, 0);
        if (_first.Length < count + 1)
        {
            _first = new int[2 * count];
        }
    }
}
