namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>What a tenant used, and what it was spared because prefixes were cached.</summary>
/// <param name="Requests">Completion requests that were answered.</param>
/// <param name="PromptTokens">Tokens of their prompts.</param>
/// <param name="CachedTokens">Those whose prefill was skipped.</param>
/// <param name="CompletionTokens">Tokens generated.</param>
/// <param name="PrefillSecondsSaved">What the skipped prefill would have taken, by what the workers measured.</param>
internal readonly record struct SavingsAccount(
    long Requests, long PromptTokens, long CachedTokens, long CompletionTokens, double PrefillSecondsSaved)
{
    public static SavingsAccount operator +(SavingsAccount left, SavingsAccount right) => new(
        left.Requests + right.Requests,
        left.PromptTokens + right.PromptTokens,
        left.CachedTokens + right.CachedTokens,
        left.CompletionTokens + right.CompletionTokens,
        left.PrefillSecondsSaved + right.PrefillSecondsSaved);
}
