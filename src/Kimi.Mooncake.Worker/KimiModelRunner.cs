using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Sampling;

namespace Kimi.Mooncake.Worker;

/// <summary>Sees the logits from which a token is about to be drawn; the span is valid during the call only.</summary>
internal delegate void LogitsObserver(Sequence sequence, int position, ReadOnlySpan<float> logits);

/// <summary>
/// Runs the engine's steps on a <see cref="KimiModel"/> and draws tokens. Used by the engine's thread only.
/// </summary>
internal sealed class KimiModelRunner : IModelRunner
{
    private readonly KimiModel _model;
    private readonly PagedKvMemory _kv;
    private readonly TimeProvider _time;
    private readonly ForwardBatch _batch = new();
    private readonly Sampler _sampler;
    private readonly TokenLogprob[] _top = new TokenLogprob[SamplingParameters.TopLogprobsMax];
    private readonly Dictionary<long, HandOverSender> _senders = [];
    private readonly List<HandOverSender> _sending = [];
    private readonly Dictionary<long, ConstrainedAnswer> _constrained = [];
    private readonly Action<int> _layerWritten;

    // Multiplications of a row and a position in the absorbed form over those in the expanded one.
    private readonly double _absorbedPairWeight;
    private ulong[] _mask = [];

    public KimiModelRunner(KimiModel model, PagedKvMemory kv, TimeProvider time)
    {
        _model = model;
        _kv = kv;
        _time = time;
        _sampler = new Sampler(model.Config.VocabularySize);
        _layerWritten = SendLayer;
        var config = model.Config;
        _absorbedPairWeight = ((2.0 * config.KvLoraRank) + config.RopeDimension)
            / (config.NopeDimension + config.RopeDimension + config.ValueDimension);
    }

    /// <summary>What its steps take.</summary>
    public StepTimes Times { get; } = new();

    public LogitsObserver? Observer { get; set; }

    /// <summary>Sequences whose answers are constrained.</summary>
    public int ConstrainedCount => _constrained.Count;

    public void Execute(StepPlan plan, StepResult result)
    {
        var start = _time.GetTimestamp();
        _batch.Clear();
        // Absorbed attention works on leading rows, so decode slices come first whatever the plan's order.
        AddSlices(plan, SliceKind.Decode);
        AddSlices(plan, SliceKind.Prefill);
        BeginSending(plan);
        var logits = _model.Forward(_batch, _kv, _sending.Count > 0 ? _layerWritten : null);
        EndSending();
        var tokens = result.Reset(plan.Count);
        var row = 0;
        row = Draw(plan, SliceKind.Decode, logits, row, tokens);
        Draw(plan, SliceKind.Prefill, logits, row, tokens);
        Measure(plan, _time.GetElapsedTime(start));
    }

    /// <summary>From now on the sequence's KV is sent while it is computed.</summary>
    public void Attach(long sequenceId, HandOverSender sender) => _senders.Add(sequenceId, sender);

    /// <summary>Nothing more of the sequence is sent.</summary>
    public void Detach(long sequenceId) => _senders.Remove(sequenceId);

    /// <summary>From now on the sequence's tokens follow a constraint; null leaves them free.</summary>
    public void Constrain(long sequenceId, ConstrainedAnswer? answer)
    {
        if (answer is not null)
        {
            _constrained.Add(sequenceId, answer);
        }
    }

    /// <summary>The sequence has ended.</summary>
    public void Release(long sequenceId) => _constrained.Remove(sequenceId);

    private void BeginSending(StepPlan plan)
    {
        _sending.Clear();
        if (_senders.Count == 0)
        {
            return;
        }

        foreach (ref readonly var slice in plan.Slices)
        {
            if (slice.Kind == SliceKind.Prefill && _senders.TryGetValue(slice.Sequence.Id, out var sender))
            {
                sender.BeginStep(slice.Sequence.BlockIds, slice.Start, slice.Count);
                _sending.Add(sender);
            }
        }
    }

    private void SendLayer(int layer)
    {
        foreach (var sender in _sending)
        {
            sender.WriteLayer(layer);
        }
    }

    private void EndSending()
    {
        foreach (var sender in _sending)
        {
            sender.EndStep();
        }
    }

    private void Measure(StepPlan plan, TimeSpan elapsed)
    {
        var tokens = 0;
        var pairs = 0.0;
        var decodeRows = 0;
        foreach (ref readonly var slice in plan.Slices)
        {
            if (slice.Sequence.Cancellation.IsCancellationRequested)
            {
                // It may have been left uncomputed, so that the time says nothing.
                return;
            }

            if (slice.Kind == SliceKind.Decode)
            {
                decodeRows++;
            }
            else
            {
                tokens += slice.Count;
                var end = slice.Start + slice.Count;
                var expandedEnd = end - slice.AbsorbedRows;
                pairs += PrefillCost.Pairs(slice.Start, expandedEnd)
                    + (_absorbedPairWeight * PrefillCost.Pairs(expandedEnd, end));
            }
        }

        Times.Add(tokens, pairs, decodeRows, elapsed);
    }

    private void AddSlices(StepPlan plan, SliceKind kind)
    {
        foreach (ref readonly var slice in plan.Slices)
        {
            if (slice.Kind == kind)
            {
                _batch.Add(
                    slice.Sequence.Tokens.Slice(slice.Start, slice.Count),
                    slice.Start,
                    slice.Sequence.BlockIds,
                    kind == SliceKind.Decode,
                    slice.Sample ? LogitsWanted.Last : LogitsWanted.None,
                    slice.AbsorbedRows,
                    slice.Sequence.Cancellation);
            }
        }
    }

    private int Draw(StepPlan plan, SliceKind kind, in MatrixView logits, int row, Span<SampledToken> tokens)
    {
        for (var i = 0; i < plan.Count; i++)
        {
            ref readonly var slice = ref plan.Slices[i];
            if (slice.Kind == kind && slice.Sample)
            {
                // Of a cancelled slice there may be no logits, and the engine wants none.
                if (!slice.Sequence.Cancellation.IsCancellationRequested)
                {
                    tokens[i] = TryDraw(slice.Sequence, slice.Start + slice.Count, logits.Row(row));
                }

                row++;
            }
        }

        return row;
    }

    private SampledToken TryDraw(Sequence sequence, int position, ReadOnlySpan<float> logits)
    {
        try
        {
            return Draw(sequence, position, logits);
        }
        catch (Exception exception)
            when (exception is not OutOfMemoryException)
        {
            // Its own logits, parameters or constraint are to blame, which the rest of the batch does not share, nor
            // does the engine's state.
            return new SampledToken { Failure = exception.Message };
        }
    }

    private SampledToken Draw(Sequence sequence, int position, ReadOnlySpan<float> logits)
    {
        Observer?.Invoke(sequence, position, logits);
        var sampling = sequence.Sampling;
        var top = _top.AsSpan(0, sampling.Logprobs ? sampling.TopLogprobs : 0);
        var token = _sampler.Sample(
            logits,
            sampling,
            sequence.Tokens[..position],
            sequence.PromptLength,
            position,
            top,
            out var logprob,
            MaskOf(sequence, position));
        return new SampledToken(
            token,
            sampling.Logprobs ? logprob : 0f,
            sampling.Logprobs ? top.ToArray() : null);
    }

    private ReadOnlySpan<ulong> MaskOf(Sequence sequence, int position)
    {
        if (!_constrained.TryGetValue(sequence.Id, out var answer))
        {
            return default;
        }

        if (_mask.Length != answer.MaskWords)
        {
            _mask = new ulong[answer.MaskWords];
        }

        var start = _time.GetTimestamp();
        answer.FillMask(_mask, sequence, position);
        Times.AddMask(_time.GetElapsedTime(start));
        return _mask;
    }
}
