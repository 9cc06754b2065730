using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// A model whose KV is one number per position, made of the token, of how the row was computed, and of every number
/// before it as read from the blocks. A wrong, stale or differently computed block anywhere changes every token after
/// it.
/// </summary>
internal sealed class SimulatedModel(KvLayout layout, int blockCount, int vocabulary = 50) : IModelRunner
{
    private const ulong Start = 0xcbf29ce484222325;

    public ulong[] Cells { get; } = new ulong[blockCount * layout.BlockTokens];

    public List<string> Steps { get; } = [];

    /// <summary>Thrown by the next step, after it has written half of its values.</summary>
    public Exception? Fault { get; set; }

    /// <summary>Called in the middle of the next step.</summary>
    public Action? During { get; set; }

    public Span<ulong> Block(int blockId) => Cells.AsSpan(blockId * layout.BlockTokens, layout.BlockTokens);

    public void Execute(StepPlan plan, StepResult result)
    {
        var tokens = result.Reset(plan.Count);
        var sequences = new HashSet<long>();
        (var during, During) = (During, null);
        during?.Invoke();
        for (var i = 0; i < plan.Count; i++)
        {
            var slice = plan.Slices[i];
            Assert.That(sequences.Add(slice.Sequence.Id), Is.True, "a sequence is twice in a plan");
            Assert.That(slice.Kind == SliceKind.Prefill || slice.Count == 1, Is.True, "a decode slice of many tokens");
            Assert.That(slice.AbsorbedRows, Is.InRange(0, slice.Kind == SliceKind.Prefill ? slice.Count : 0));
            var last = Compute(slice);
            if (slice.Sample)
            {
                var token = Draw(last, slice.Start + slice.Count, vocabulary);
                tokens[i] = new SampledToken(token, 0, null);
            }

            if (Fault is not null && i >= plan.Count / 2)
            {
                (var fault, Fault) = (Fault, null);
                throw fault;
            }
        }

        Steps.Add(string.Join(' ', plan.Slices.ToArray().Select(Describe)));
    }

    /// <summary>The KV of a prompt, one number for each token, and the token after it.</summary>
    public static (ulong[] Cells, int FirstToken) Prefill(IReadOnlyList<int> prompt, int vocabulary = 50)
    {
        var state = Start;
        var cells = new ulong[prompt.Count];
        for (var p = 0; p < cells.Length; p++)
        {
            cells[p] = Value(state, prompt[p], KindOf(p, prompt.Count));
            state = Mix(state, cells[p]);
        }

        return (cells, Draw(cells[^1], prompt.Count, vocabulary));
    }

    /// <summary>What the model generates for a prompt that has the machine to itself.</summary>
    public static (List<int> Tokens, FinishReason Reason) Alone(GenerationRequest request, int vocabulary = 50)
    {
        var state = Start;
        var value = 0UL;
        for (var p = 0; p < request.PromptTokens.Count; p++)
        {
            value = Value(state, request.PromptTokens[p], KindOf(p, request.PromptTokens.Count));
            state = Mix(state, value);
        }

        var output = new List<int>();
        while (output.Count < request.MaxNewTokens)
        {
            var token = Draw(value, request.PromptTokens.Count + output.Count, vocabulary);
            if (request.StopTokens.Contains(token))
            {
                return (output, FinishReason.Stop);
            }

            output.Add(token);
            value = Value(state, token, SliceKind.Decode);
            state = Mix(state, value);
        }

        return (output, FinishReason.Length);
    }

    private ulong Compute(in StepSlice slice)
    {
        var blocks = slice.Sequence.BlockIds;
        var state = Start;
        var value = 0UL;
        for (var p = 0; p < slice.Start + slice.Count; p++)
        {
            ref var cell = ref Block(blocks[p / layout.BlockTokens])[p % layout.BlockTokens];
            if (p >= slice.Start)
            {
                // What a runner leaves behind when it stops: anything at all.
                var stopped = slice.Sequence.Cancellation.IsCancellationRequested;
                var absorbed = p >= slice.Start + slice.Count - slice.AbsorbedRows;
                var kind = absorbed ? SliceKind.Decode : slice.Kind;
                cell = stopped ? 0xbad : Value(state, slice.Sequence.Tokens[p], kind);
            }

            value = cell;
            state = Mix(state, value);
        }

        return value;
    }

    private static string Describe(StepSlice slice) =>
        $"{slice.Sequence.Id}:{(slice.Kind == SliceKind.Prefill ? 'P' : 'D')}{slice.Start}+{slice.Count}"
        + (slice.Sample ? "!" : "");

    /// <summary>How a prompt's tokens are computed: those after its last full block as generated ones are.</summary>
    private static SliceKind KindOf(int position, int promptLength) =>
        position < promptLength / EngineRun.BlockTokens * EngineRun.BlockTokens ? SliceKind.Prefill : SliceKind.Decode;

    private static ulong Value(ulong state, int token, SliceKind kind) =>
        Mix(Mix(state, (ulong)token), (ulong)kind + 1);

    private static int Draw(ulong value, int position, int vocabulary) =>
        (int)(Mix(value, (ulong)position) % (ulong)vocabulary);

    private static ulong Mix(ulong a, ulong b)
    {
        var x = (a ^ (b + 0x9e3779b97f4a7c15 + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccd;
        return x ^ (x >> 33);
    }
}
