using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>What happened to one request, its events checked for their order.</summary>
internal sealed class Outcome(long id, GenerationRequest request, SequenceMode mode)
{
    public long Id { get; } = id;

    public GenerationRequest Request { get; } = request;

    public SequenceMode Mode { get; } = mode;

    public List<int> Tokens { get; } = [];

    public List<int> Progress { get; } = [];

    /// <summary>Tokens that were there when its blocks were reserved or its prefill began; -1 before.</summary>
    public int PresentTokens { get; private set; } = -1;

    public int CachedTokens { get; private set; } = -1;

    public FinishReason? Reason { get; private set; }

    public string? Message { get; private set; }

    /// <summary>Prompt and all that was generated, here or elsewhere before.</summary>
    public IEnumerable<int> AllTokens => Request.PromptTokens.Concat(Request.GeneratedTokens).Concat(Tokens);

    public void Add(EngineEvent e)
    {
        Assert.That(Reason, Is.Null, "an event after the last");
        switch (e.Kind)
        {
            case EngineEventKind.Admitted or EngineEventKind.Reserved:
                var expected = e.Kind == EngineEventKind.Admitted ? SequenceMode.PrefillOnly : SequenceMode.DecodeOnly;
                Assert.That(Mode, Is.EqualTo(expected));
                Assert.That((PresentTokens, CachedTokens, Progress.Count), Is.EqualTo((-1, -1, 0)), "in this order");
                PresentTokens = e.CachedTokens;
                break;
            case EngineEventKind.PrefillProgressed:
                Assert.That(CachedTokens, Is.EqualTo(-1), "progress after the prefill was finished");
                Progress.Add(e.ProcessedTokens);
                break;
            case EngineEventKind.PrefillFinished:
                Assert.That(CachedTokens, Is.EqualTo(-1), "the prefill was finished twice");
                Assert.That(PresentTokens >= 0, Is.EqualTo(Mode != SequenceMode.Whole), "no prefill without blocks");
                Assert.That(e.PromptTokens, Is.EqualTo(Request.PromptTokens.Count));
                CachedTokens = e.CachedTokens;
                break;
            case EngineEventKind.TokenGenerated:
                Assert.That(CachedTokens, Is.GreaterThanOrEqualTo(0), "a token before the prefill was finished");
                Tokens.Add(e.Token.TokenId);
                break;
            default:
                Reason = e.Reason;
                Message = e.Message;
                break;
        }
    }

    /// <summary>
    /// The tokens are those that the request gets from a machine of its own, of which an interrupted one does not
    /// report the tokens from before, and a prefill only the first.
    /// </summary>
    public void AssertAsAlone(string what = "")
    {
        var prefill = Mode == SequenceMode.PrefillOnly;
        var (tokens, reason) = SimulatedModel.Alone(prefill ? Request with { MaxNewTokens = 1 } : Request);
        var before = prefill ? 0 : Request.GeneratedTokens.Count;
        Assert.That(Tokens, Is.EqualTo(tokens.Skip(before)), $"output of sequence {Id} ({Mode}) {what}");
        Assert.That(Reason, Is.EqualTo(reason), $"{Message} {what}");
    }
}
