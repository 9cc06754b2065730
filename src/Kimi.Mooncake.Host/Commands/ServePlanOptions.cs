using System.CommandLine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The options that say which conversations are held.</summary>
internal sealed class ServePlanOptions
{
    private readonly IntOption _conversations =
        new("--conversations", "Conversations held at once.", defaultValue: 32, min: 1, max: 4096);

    private readonly IntOption _turns =
        new("--turns", "Questions of each conversation.", defaultValue: 10, min: 1, max: 1000);

    private readonly IntOption _documents =
        new("--documents", "Documents that the conversations share.", defaultValue: 4, min: 1, max: 4096);

    private readonly IntOption _tokens = new(
        "--document-tokens", "Tokens of each document.", defaultValue: 16_384, NeedleDocument.BytesMin, 1 << 20);

    private readonly IntOption _seed =
        new("--seed", "Makes documents and questions.", defaultValue: 1, min: 0, max: int.MaxValue);

    private readonly IntOption _ttft = new(
        "--ttft-ms-max", "Longest TTFT of a request that counts for the goodput.", defaultValue: 10_000, 1, 3_600_000);

    private readonly IntOption _tbt = new(
        "--tbt-ms-max", "Longest mean time between tokens of a request that counts for the goodput.",
        defaultValue: 200, 1, 3_600_000);

    private readonly IntOption _limit = new(
        "--request-seconds-max", "Longest time of one request; then it counts as stuck.", defaultValue: 600, 1, 86_400);

    public void AddTo(Command command)
    {
        foreach (var option in new[] { _conversations, _turns, _documents, _tokens, _seed, _ttft, _tbt, _limit })
        {
            command.Options.Add(option.Option);
        }
    }

    /// <exception cref="CommandException">A number is out of range, or two of them contradict each other.</exception>
    public ServePlan Read(ParseResult parsed)
    {
        var plan = new ServePlan
        {
            Conversations = _conversations.Read(parsed),
            Turns = _turns.Read(parsed),
            Documents = _documents.Read(parsed),
            DocumentTokens = _tokens.Read(parsed),
            Seed = _seed.Read(parsed),
            TtftMsMax = _ttft.Read(parsed),
            TbtMsMax = _tbt.Read(parsed),
            RequestSecondsMax = _limit.Read(parsed),
        };
        var factsMax = ConversationScript.FactsMax(plan.DocumentTokens);
        return plan.Turns <= factsMax
            ? plan
            : throw new CommandException(
                $"--turns {plan.Turns}: a document of {plan.DocumentTokens} tokens has room for {factsMax} facts, " +
                "and each turn asks for another one", ExitCode.Usage);
    }
}
