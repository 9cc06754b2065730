using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>One answered request of a conversation.</summary>
/// <param name="Conversation">Number of the conversation.</param>
/// <param name="Turn">Number of the question in it.</param>
/// <param name="EndS">When it ended, in seconds from the start of the run.</param>
/// <param name="IsRight">Whether the answer is the planted sentence.</param>
/// <param name="Asked">What was measured.</param>
internal sealed record ServedTurn(int Conversation, int Turn, double EndS, bool IsRight, AskResult Asked)
{
    /// <summary>Mean time between the tokens of the answer; 0 for one of a single token.</summary>
    public double MeanTbtS => Asked.CompletionTokens < 2
        ? 0
        : Asked.GapsS.Sum() / (Asked.CompletionTokens - 1);
}
