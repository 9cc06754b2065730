using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>
/// What comes with the blocks of one sequence when they are stored: the tenant, and for the leading blocks the
/// strongest of what was asked for the prefixes that cover them.
/// </summary>
internal sealed class PromptAttributes
{
    private readonly BlockAttributes _rest;
    private readonly (int End, BlockAttributes Attributes)[] _runs;

    /// <param name="rest">Attributes of blocks for which nothing was asked.</param>
    /// <param name="retain">What was asked.</param>
    /// <param name="promptTokens">Tokens of the prompt; what comes after it is not kept.</param>
    /// <param name="blockTokens">Tokens in a block.</param>
    public PromptAttributes(
        BlockAttributes rest, IReadOnlyList<RetainedPrefix> retain, int promptTokens, int blockTokens)
    {
        _rest = rest;
        if (retain.Count == 0)
        {
            _runs = [];
            return;
        }

        // From the longest prefix to the shortest, so that each run has what was asked for all that cover it.
        var runs = new List<(int End, BlockAttributes Attributes)>(retain.Count);
        var strongest = rest;
        foreach (var prefix in retain.OrderByDescending(static prefix => prefix.Tokens))
        {
            var asked = new BlockAttributes(rest.Tenant, prefix.Retention, prefix.Class);
            var end = Math.Min(prefix.Tokens, promptTokens) / blockTokens;
            if (end == 0 || asked == rest)
            {
                continue;
            }

            strongest = runs.Count == 0 ? asked : Strongest(strongest, asked);
            if (runs.Count > 0 && runs[^1].End == end)
            {
                runs[^1] = (end, strongest);
            }
            else
            {
                runs.Add((end, strongest));
            }
        }

        runs.Reverse();
        _runs = [.. runs];
    }

    /// <summary>Leading blocks for which something was asked.</summary>
    public int RetainedBlocks => _runs.Length == 0 ? 0 : _runs[^1].End;

    /// <summary>The attributes of a block.</summary>
    public BlockAttributes this[int block]
    {
        get
        {
            foreach (var (end, attributes) in _runs)
            {
                if (block < end)
                {
                    return attributes;
                }
            }

            return _rest;
        }
    }

    /// <summary>The end of the run of blocks that have the attributes of one of the retained blocks.</summary>
    public int RunEnd(int block)
    {
        foreach (var (end, _) in _runs)
        {
            if (block < end)
            {
                return end;
            }
        }

        return int.MaxValue;
    }

    /// <summary>What satisfies both; the first itself where it does. The tenant is the first's.</summary>
    public static BlockAttributes Strongest(BlockAttributes first, BlockAttributes second)
    {
        var both = new BlockAttributes(
            first.Tenant,
            BlockRetention.Strongest(first.Retention, second.Retention),
            first.Class > second.Class ? first.Class : second.Class);
        return both == first ? first : both;
    }
}
