using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>How far a <see cref="ModelBench"/> is.</summary>
/// <param name="What">What runs.</param>
/// <param name="Share">Estimated part of the whole that is done, 0 to 1.</param>
public sealed record ModelBenchProgress(string What, double Share);

/// <summary>
/// Measures prefill and decode of a model without scheduler, store or server. Depth is reached by computing it; runs of
/// decode repeat from there.
/// </summary>
public sealed class ModelBench
{
    private const int WarmUpTokens = 64;
    private const int WarmUpSteps = 8;

    private readonly ModelSource _source;
    private readonly IKernels _kernels;
    private readonly ModelBenchOptions _options;
    private readonly TimeProvider _time;
    private readonly IProgress<ModelBenchProgress>? _progress;
    private readonly CancellationToken _cancellation;
    private readonly ModelBenchWork _work;

    /// <summary>Prepares a bench.</summary>
    /// <param name="source">The model.</param>
    /// <param name="kernels">Where it is computed.</param>
    /// <param name="options">What is measured.</param>
    /// <param name="time">Clock.</param>
    /// <param name="progress">Told what runs.</param>
    /// <param name="cancellation">Ends it between two forward passes.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public ModelBench(
        ModelSource source,
        IKernels kernels,
        ModelBenchOptions options,
        TimeProvider time,
        IProgress<ModelBenchProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(options);
        options.Check(source.Config);
        _source = source;
        _kernels = kernels;
        _options = options;
        _time = time;
        _progress = progress;
        _cancellation = cancellation;
        _work = new ModelBenchWork(options);
    }

    /// <summary>Measures everything that was asked for.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public ModelBenchResult Run()
    {
        var sequencesMax = _options.Sequences.Max();
        var started = _time.GetTimestamp();
        using var model = new KimiModel(
            _source, _kernels, Math.Max(_options.ChunkTokens, sequencesMax), sequencesMax);
        var packS = Since(started);
        using var sequences = new BenchSequences(
            model, sequencesMax, _options);
        var traffic = new StepTraffic(_source);
        WarmUp(sequences);
        var firstToken = FirstToken(sequences);
        var prefill = new List<PrefillFigure>();
        var decode = new List<DecodeFigure>();
        foreach (var count in _options.Sequences.Distinct().Order())
        {
            var computed = 0;
            foreach (var tokens in _options.PrefillTokens.Distinct().Order())
            {
                prefill.Add(Prefill(sequences, count, tokens));
                computed = tokens;
            }

            // From the deepest on, so that what is overwritten is not needed again.
            foreach (var depth in _options.DecodeDepths.Distinct().OrderDescending())
            {
                Extend(sequences, count, computed, depth);
                computed = depth;
                decode.Add(Decode(model, sequences, traffic, count, depth));
            }
        }

        return new ModelBenchResult
        {
            PackS = packS,
            FirstTokenPromptTokens = _options.FirstTokenPromptTokens,
            FirstTokenS = firstToken,
            KvBytesPerToken = sequences.BytesPerToken,
            KvPoolBytes = sequences.PoolBytes,
            Memory = ResidentMemory.Read(),
            Prefill = prefill,
            Decode = [.. decode.OrderBy(figure => figure.Sequences).ThenBy(figure => figure.Depth)],
        };
    }

    private static string Named(int count) => count == 1 ? "1 sequence" : $"{count} sequences";

    private double Since(long started) => _time.GetElapsedTime(started).TotalSeconds;

    private void Tell(string what, double done)
    {
        _cancellation.ThrowIfCancellationRequested();
        _progress?.Report(new ModelBenchProgress(what, _work.Add(done)));
    }

    private void WarmUp(BenchSequences sequences)
    {
        Tell("warm-up", 0);
        var tokens = Math.Min(WarmUpTokens, _options.Positions);
        sequences.Prefill(1, 0, tokens, _ => Tell("warm-up", 0));
        sequences.Decode(1, 0, Math.Min(WarmUpSteps, tokens), 0, () => Tell("warm-up", 0));
    }

    private Spread FirstToken(BenchSequences sequences)
    {
        var tokens = _options.FirstTokenPromptTokens;
        return Spread.Of([.. Enumerable.Range(0, _options.Runs).Select(_ =>
        {
            var started = _time.GetTimestamp();
            sequences.Prefill(1, 0, tokens, _ => { });
            var seconds = Since(started);
            Tell("first token", ModelBenchWork.OfPrefill(1, 0, tokens));
            return seconds;
        })]);
    }

    private PrefillFigure Prefill(BenchSequences sequences, int count, int tokens)
    {
        var runs = new double[_options.Runs];
        var passes = new List<double>[_options.Runs];
        var sizes = new List<int>();
        for (var run = 0; run < runs.Length; run++)
        {
            var what = $"prefill of {tokens} tokens, {Named(count)}, run {run + 1} of {runs.Length}";
            var (position, times) = (0, passes[run] = []);
            sizes.Clear();
            Tell(what, 0);
            var started = _time.GetTimestamp();
            sequences.Prefill(count, 0, tokens, done =>
            {
                times.Add(Since(started));
                sizes.Add(done);
                Tell(what, ModelBenchWork.OfPrefill(1, position % tokens, (position % tokens) + done));
                position += done;
            });
            runs[run] = times[^1];
        }

        var rate = Spread.Of(runs.Select(seconds => (double)count * tokens / seconds));
        var flops = count * PrefillWork.Flops(_source.Config, tokens);
        var gflops = flops * rate.Median / ((double)count * tokens) / 1e9;
        return new PrefillFigure(count, tokens, rate, gflops, count == 1 ? Chunks(sizes, passes) : []);
    }

    private static PrefillChunk[] Chunks(List<int> sizes, List<double>[] passes)
    {
        var position = 0;
        var chunks = new PrefillChunk[sizes.Count];
        for (var i = 0; i < chunks.Length; i++)
        {
            var seconds = Spread.Of(passes.Select(times => i == 0 ? times[0] : times[i] - times[i - 1])).Median;
            chunks[i] = new PrefillChunk(position, sizes[i], seconds);
            position += sizes[i];
        }

        return chunks;
    }

    private void Extend(BenchSequences sequences, int count, int from, int to)
    {
        if (from < to)
        {
            var what = $"to depth {to}, {Named(count)}";
            Tell(what, 0);
            var position = 0;
            sequences.Prefill(count, from, to, done =>
            {
                var start = from + (position % (to - from));
                Tell(what, ModelBenchWork.OfPrefill(1, start, start + done));
                position += done;
            });
        }
    }

    private DecodeFigure Decode(
        KimiModel model, BenchSequences sequences, StepTraffic traffic, int count, int depth)
    {
        var steps = _options.DecodeTokens;
        var bytesBefore = traffic.Bytes;
        model.RoutingObserver = traffic.CountExperts;
        var runs = new double[_options.Runs];
        for (var run = 0; run < runs.Length; run++)
        {
            var what = $"decode at depth {depth}, {Named(count)}, run {run + 1} of {runs.Length}";
            Tell(what, 0);
            var started = _time.GetTimestamp();
            sequences.Decode(count, depth, steps, run, () =>
            {
                traffic.CountPass(count);
                _cancellation.ThrowIfCancellationRequested();
            });
            runs[run] = Since(started);
            Tell(what, ModelBenchWork.OfDecode(count, depth, steps));
        }

        model.RoutingObserver = null;
        var weightBytes = (traffic.Bytes - bytesBefore) / (steps * runs.Length);

        // Contexts from depth + 1 to depth + steps, each its own token included.
        var kvBytes = (long)(sequences.BytesPerToken * count * (depth + ((steps + 1) / 2.0)));
        var rate = Spread.Of(runs.Select(seconds => (double)count * steps / seconds));
        return new DecodeFigure(
            count, depth, steps, rate, weightBytes, kvBytes, (weightBytes + kvBytes) * rate.Median / count / 1e9);
    }
}
