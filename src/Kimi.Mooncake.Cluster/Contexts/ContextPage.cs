namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>Cuts a page out of a list.</summary>
internal static class ContextPage
{
    /// <summary>The page; null where a bound is not in the list.</summary>
    /// <param name="oldestFirst">The whole list.</param>
    /// <param name="query">Which part of it.</param>
    /// <param name="name">An entry's name in the bounds.</param>
    /// <param name="bytes">An entry's share of the bytes.</param>
    /// <param name="bytesMax">Most bytes of a page, which has one entry in any case.</param>
    /// <param name="isWanted">Whether an entry is to be on a page.</param>
    public static IReadOnlyList<T>? Cut<T>(
        IEnumerable<T> oldestFirst, ContextQuery query, Func<T, string> name, Func<T, long> bytes, long bytesMax,
        Func<T, bool> isWanted)
    {
        List<T> all = [.. oldestFirst];
        if (!query.Ascending)
        {
            all.Reverse();
        }

        var first = query.After.Length > 0 ? all.FindIndex(entry => name(entry) == query.After) + 1 : 0;
        var end = query.Before.Length > 0 ? all.FindIndex(entry => name(entry) == query.Before) : all.Count;
        if ((query.After.Length > 0 && first == 0) || end < 0)
        {
            return null;
        }

        var page = new List<T>();
        var size = 0L;
        for (var i = first; i < end && page.Count < query.Limit; i++)
        {
            if (!isWanted(all[i]))
            {
                continue;
            }

            size += bytes(all[i]);
            if (page.Count > 0 && size > bytesMax)
            {
                break;
            }

            page.Add(all[i]);
        }

        return page;
    }
}
