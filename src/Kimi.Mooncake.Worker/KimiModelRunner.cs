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
internal sealed class KimiModelRunner(KimiModel model, PagedKvMemory kv) : IModelRunner
{
    private readonly ForwardBatch _batch = new();
    private readonly Sampler _sampler = new(model.Config.VocabularySize);
    private readonly TokenLogprob[] _top = new TokenLogprob[SamplingParameters.TopLogprobsMax];

    public LogitsObserver? Observer { get; set; }

    public void Execute(StepPlan plan, StepResult result)
    {
        _batch.Clear();
        // Absorbed attention works on leading rows, so decode slices come first whatever the plan's order.
        AddSlices(plan, SliceKind.Decode);
        AddSlices(plan, SliceKind.Prefill);
        var logits = model.Forward(_batch, kv);
        var tokens = result.Reset(plan.Count);
        var row = 0;
        row = Draw(plan, SliceKind.Decode, logits, row, tokens);
        Draw(plan, SliceKind.Prefill, logits, row, tokens);
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
        catch (Exception exception) when (exception is NonFiniteLogitsException or ArgumentException)
        {
            // Its own logits or parameters are to blame, which the rest of the batch does not share.
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
            out var logprob);
        return new SampledToken(
            token,
            sampling.Logprobs ? logprob : 0f,
            sampling.Logprobs ? top.ToArray() : null);
    }
}
