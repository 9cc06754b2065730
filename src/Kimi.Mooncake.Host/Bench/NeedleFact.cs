namespace Kimi.Mooncake.Host.Bench;

/// <summary>A planted sentence: its beginning, which is the question, and what follows.</summary>
internal sealed record NeedleFact(string Question, string Answer)
{
    public string Sentence => $"{Question} {Answer}.";
}
