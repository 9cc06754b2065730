using System.Numerics.Tensors;

namespace Kimi.Mooncake.Models.Sampling;

/// <summary>
/// Temperature and the filters top-k, top-p and min-p, in this order. Each keeps a prefix of the tokens ranked by logit
/// (the lower id among equals), and top-p measures against what top-k kept.
/// </summary>
internal sealed class TokenFilter(int vocabularySize)
{
    private const int FirstSortedKeys = 64;

    private readonly float[] _weights = new float[vocabularySize];
    private readonly ulong[] _keys = new ulong[vocabularySize];

    /// <summary>Probability of each token relative to the most likely one, as the last call left it.</summary>
    public ReadOnlySpan<float> Weights => _weights;

    /// <summary>Computes <see cref="Weights"/>.</summary>
    public void Weigh(ReadOnlySpan<float> logits, float temperature)
    {
        // Differences come first: even a tiny temperature then divides numbers up to zero, and nothing overflows.
        TensorPrimitives.Subtract(logits, TensorPrimitives.Max(logits), _weights);
        TensorPrimitives.Divide(_weights, temperature, _weights);
        TensorPrimitives.Exp<float>(_weights, _weights);
    }

    /// <summary>Rank keys of the tokens that may be drawn, at least one; valid until the next call.</summary>
    /// <param name="logits">Finite logits.</param>
    /// <param name="temperature">Divides them; above 0.</param>
    /// <param name="topK">Most tokens kept; 0 is no limit.</param>
    /// <param name="topP">Probability to reach, above 0 and up to 1.</param>
    /// <param name="minP">Least probability relative to the most likely token, 0 to 1.</param>
    public ReadOnlySpan<ulong> Keep(ReadOnlySpan<float> logits, float temperature, int topK, float topP, float minP)
    {
        Weigh(logits, temperature);
        if (topK > 0 && topK < logits.Length)
        {
            var best = RankKey.Top(logits, topK, _keys);
            var kept = topP < 1 ? Nucleus(best, topP * Mass(best)) : best;
            return minP > 0 ? RemoveUnlikely(kept, minP) : kept;
        }

        if (topP >= 1)
        {
            return Collect(logits, minP);
        }

        // All tokens below this threshold together have less than 1 - topP, so that none of them is needed for topP.
        var mass = Mass();
        var candidates = Collect(logits, Math.Max(minP, (1 - (double)topP) * mass / logits.Length));
        return Nucleus(candidates, topP * mass);
    }

    private Span<ulong> Collect(ReadOnlySpan<float> logits, double weightMin)
    {
        var count = 0;
        for (var token = 0; token < logits.Length; token++)
        {
            if (_weights[token] >= weightMin)
            {
                _keys[count++] = RankKey.Of(token, logits[token]);
            }
        }

        return _keys.AsSpan(0, count);
    }

    /// <summary>The shortest prefix of the ranking whose weights reach a sum; all keys where none does.</summary>
    private Span<ulong> Nucleus(Span<ulong> keys, double massMin)
    {
        var (sum, done) = (0.0, 0);
        for (var sorted = FirstSortedKeys; done < keys.Length; sorted *= 2)
        {
            var rest = keys[done..];
            var best = rest[..Math.Min(sorted, rest.Length)];
            RankKey.SelectGreatest(rest, best.Length);
            best.Sort();
            best.Reverse();
            foreach (var key in best)
            {
                sum += _weights[RankKey.Token(key)];
                done++;
                if (sum >= massMin)
                {
                    return keys[..done];
                }
            }
        }

        return keys;
    }

    private Span<ulong> RemoveUnlikely(Span<ulong> keys, float weightMin)
    {
        var count = 0;
        foreach (var key in keys)
        {
            if (_weights[RankKey.Token(key)] >= weightMin)
            {
                keys[count++] = key;
            }
        }

        return keys[..count];
    }

    private double Mass()
    {
        var mass = 0.0;
        foreach (var weight in _weights)
        {
            mass += weight;
        }

        return mass;
    }

    private double Mass(ReadOnlySpan<ulong> keys)
    {
        var mass = 0.0;
        foreach (var key in keys)
        {
            mass += _weights[RankKey.Token(key)];
        }

        return mass;
    }
}
