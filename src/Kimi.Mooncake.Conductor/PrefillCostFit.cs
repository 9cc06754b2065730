namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Fits <see cref="PrefillCost"/> to the steps of a worker as they are measured: least squares of the relative error,
/// with forgetting, without negative terms, and with bounded influence of outliers. Not safe for concurrent use.
/// </summary>
public sealed class PrefillCostFit
{
    // A step's weight halves after 138 further steps: enough to tell three terms apart, few enough to follow a change.
    private const double Retention = 0.995;

    // Steps after which an outlier can be told from the first impression.
    private const int WarmUpSamples = 8;

    // Residuals above this many times the usual one count as if they were this large (Huber).
    private const double OutlierFactor = 3;

    private const double SpreadShare = 0.1;
    private const double SpreadInitial = 0.25;
    private const double SpreadMin = 0.02;
    private const double SecondsMin = 1e-6;

    // Keeps the equations solvable while all steps are alike; far below the noise of a measurement.
    private const double Ridge = 1e-9;

    private readonly double[,] _products = new double[3, 3];
    private readonly double[] _targets = new double[3];
    private double _spread = SpreadInitial;
    private PrefillCost _current;

    /// <summary>What fits best so far; zero before the first step.</summary>
    public PrefillCost Current => _current;

    /// <summary>Adds a measured step.</summary>
    /// <param name="tokens">Prompt positions that it computed.</param>
    /// <param name="pairs">Their pairs, see <see cref="PrefillCost.Pairs"/>.</param>
    /// <param name="seconds">Time that it took; a step without positions or time is left out.</param>
    public void Add(long tokens, double pairs, double seconds)
    {
        if (tokens <= 0 || !(pairs >= 0) || !(seconds > 0) || !double.IsFinite(pairs) || !double.IsFinite(seconds))
        {
            return;
        }

        var weight = Weight(tokens, pairs, Math.Max(seconds, SecondsMin));
        ReadOnlySpan<double> terms = [1, tokens, pairs];
        for (var row = 0; row < 3; row++)
        {
            for (var column = 0; column < 3; column++)
            {
                _products[row, column] = Retention * _products[row, column] + weight * terms[row] * terms[column];
            }

            _targets[row] = Retention * _targets[row] + weight * terms[row] * seconds;
        }

        var (fixedSeconds, tokenSeconds, pairSeconds) = NonNegativeLeastSquares.Solve(_products, _targets, Ridge);
        _current = new PrefillCost(fixedSeconds, tokenSeconds, pairSeconds, _current.Samples + 1);
    }

    // A step counts by its relative error. The larger of measured and expected time is the measure, so that a clock
    // that stood still cannot give a step an enormous weight.
    private double Weight(long tokens, double pairs, double seconds)
    {
        if (_current.Samples < WarmUpSamples)
        {
            return 1 / (seconds * seconds);
        }

        var expected = _current.FixedSeconds + _current.TokenSeconds * tokens + _current.PairSeconds * pairs;
        var scale = Math.Max(seconds, expected);
        var residual = Math.Abs(seconds - expected) / scale;
        var limit = OutlierFactor * _spread;
        var huber = residual <= limit ? 1 : limit / residual;
        _spread = Math.Max(SpreadMin, _spread + SpreadShare * (Math.Min(residual, limit) - _spread));
        return huber / (scale * scale);
    }
}
