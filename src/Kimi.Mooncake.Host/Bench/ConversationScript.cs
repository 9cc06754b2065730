using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// What is said in conversations about shared documents, and what is right. Everything follows from the plan, so that
/// the same conversations can be held with another server.
/// </summary>
internal sealed class ConversationScript
{
    // More than a conversation asks about, so that conversations about one document differ.
    private const int FactsWanted = 24;

    // Prime to the usual numbers of facts: conversations about one document begin at different places.
    private const int FactsStride = 5;

    private readonly NeedleDocument[] _documents;
    private readonly ServePlan _plan;

    public ConversationScript(ServePlan plan)
    {
        _plan = plan;
        var facts = Math.Max(plan.Turns, Math.Min(FactsWanted, FactsMax(plan.DocumentTokens)));
        _documents =
        [
            .. Enumerable.Range(0, plan.Documents).Select(index => NeedleDocument.Create(
                plan.DocumentTokens, facts, unchecked((plan.Seed * 1_000_003) + index))),
        ];
    }

    /// <summary>Most turns about a document: each asks for a fact of its own.</summary>
    public static int FactsMax(int documentTokens) => documentTokens / NeedleDocument.BytesPerFactMin;

    /// <summary>The fact that a turn asks for.</summary>
    public NeedleFact Fact(int conversation, int turn)
    {
        var facts = _documents[conversation % _documents.Length].Facts;
        return facts[((conversation / _documents.Length * FactsStride) + turn) % facts.Count];
    }

    /// <summary>A turn's request, after what was said so far.</summary>
    public StreamRequest Request(int conversation, int turn, IReadOnlyList<ChatTurn> earlier)
    {
        var question = Fact(conversation, turn).Question;
        var request = turn == 0
            ? StreamRequest.About(_documents[conversation % _documents.Length].Text, question)
            : new StreamRequest { Text = StreamRequest.Again(question), Earlier = earlier };
        return request with { MaxTokens = _plan.TokensPerAnswerMax };
    }
}
