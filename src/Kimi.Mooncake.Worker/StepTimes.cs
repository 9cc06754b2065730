using Kimi.Mooncake.Conductor;

namespace Kimi.Mooncake.Worker;

/// <summary>What steps take here: told by the runner of each, asked by whoever reports load.</summary>
internal sealed class StepTimes
{
    // A mean over the last twenty or so: steps of a batch are alike.
    private const double NewestShare = 0.1;

    private readonly Lock _lock = new();
    private readonly PrefillCostFit _prefill = new();
    private double _decodeSeconds;
    private double _prefillTokenSeconds;
    private long _masks;
    private double _maskSeconds;

    /// <summary>Steps in which at least one sequence was decoded: the time between two of its tokens.</summary>
    public Histogram Decode { get; } = new();

    /// <summary>What prefill costs.</summary>
    public PrefillCost PrefillCost
    {
        get
        {
            lock (_lock)
            {
                return _prefill.Current;
            }
        }
    }

    /// <summary>
    /// What the prefill of a prompt's first tokens would have taken, of which the rest was computed; 0 before the first
    /// step. What every prefill costs whatever its length is not part of it; while the steps so far do not tell that
    /// from what a token costs, the mean of a token counts.
    /// </summary>
    public double PrefillSecondsSaved(int promptTokens, int cachedTokens)
    {
        PrefillCost cost;
        double mean;
        lock (_lock)
        {
            (cost, mean) = (_prefill.Current, _prefillTokenSeconds);
        }

        return cost.TokenSeconds > 0 || cost.PairSeconds > 0
            ? Math.Max(0, cost.Seconds(0, promptTokens) - cost.Seconds(cachedTokens, promptTokens))
            : cachedTokens * mean;
    }

    /// <summary>Seconds of a step in which sequences were only decoded; 0 before the first.</summary>
    public double DecodeSeconds
    {
        get
        {
            lock (_lock)
            {
                return _decodeSeconds;
            }
        }
    }

    /// <summary>How many masks of constrained answers were filled, and in what time.</summary>
    public (long Count, double Seconds) Masks
    {
        get
        {
            lock (_lock)
            {
                return (_masks, _maskSeconds);
            }
        }
    }

    /// <summary>A mask was filled, which is part of its step.</summary>
    public void AddMask(TimeSpan elapsed)
    {
        lock (_lock)
        {
            _masks++;
            _maskSeconds += elapsed.TotalSeconds;
        }
    }

    /// <summary>A step was computed.</summary>
    /// <param name="prefillTokens">Prompt positions that it computed.</param>
    /// <param name="prefillPairs">
    /// Their pairs, see <see cref="PrefillCost.Pairs"/>; one in the absorbed form counts as the expanded ones that cost
    /// as much.
    /// </param>
    /// <param name="decodeRows">Sequences that it decoded.</param>
    /// <param name="elapsed">Time that it took.</param>
    public void Add(long prefillTokens, double prefillPairs, int decodeRows, TimeSpan elapsed)
    {
        if (decodeRows > 0)
        {
            Decode.Add(elapsed);
        }

        lock (_lock)
        {
            if (prefillTokens == 0)
            {
                _decodeSeconds = _decodeSeconds == 0
                    ? elapsed.TotalSeconds
                    : _decodeSeconds + (NewestShare * (elapsed.TotalSeconds - _decodeSeconds));
            }
            else
            {
                var decoding = decodeRows > 0 ? _decodeSeconds : 0;
                var seconds = Math.Max(0, elapsed.TotalSeconds - decoding);
                _prefill.Add(prefillTokens, prefillPairs, seconds);
                _prefillTokenSeconds = _prefillTokenSeconds == 0
                    ? seconds / prefillTokens
                    : _prefillTokenSeconds + (NewestShare * ((seconds / prefillTokens) - _prefillTokenSeconds));
            }
        }
    }
}
