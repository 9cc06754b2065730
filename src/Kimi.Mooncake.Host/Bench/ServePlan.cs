namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench serve</c> is to do.</summary>
internal sealed record ServePlan
{
    /// <summary>Conversations held at once.</summary>
    public required int Conversations { get; init; }

    /// <summary>Questions of each conversation, one after the other.</summary>
    public required int Turns { get; init; }

    /// <summary>Documents that the conversations share.</summary>
    public required int Documents { get; init; }

    /// <summary>Tokens of each document.</summary>
    public required int DocumentTokens { get; init; }

    /// <summary>Makes documents and questions.</summary>
    public required int Seed { get; init; }

    /// <summary>Time to first token within which a request counts for the goodput.</summary>
    public double TtftMsMax { get; init; } = 10_000;

    /// <summary>Mean time between tokens within which a request counts for the goodput.</summary>
    public double TbtMsMax { get; init; } = 200;

    /// <summary>Longest time of one request; then it is given up and counted as stuck.</summary>
    public double RequestSecondsMax { get; init; } = 600;

    /// <summary>Most tokens of an answer.</summary>
    public int TokensPerAnswerMax { get; init; } = 128;
}
