using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.KvCache.Retention;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store plan TRACE</c>: how large a store is worth its room.</summary>
internal sealed class StorePlanCommand
{
    private const int BarCells = 50;
    private const int BlockTokensOfTraces = 512;
    private const int BlockTokensMax = 1 << 20;
    private const int TokenBytesMax = 1 << 30;

    private static readonly int[] DefaultCapacities = [1_000, 5_859, 10_000, 30_000, 50_000, 100_000];

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();

    private readonly Argument<string> _trace = new("TRACE")
    {
        Description = "Requests, one JSON object per line: timestamp, input_length, output_length, hash_ids.",
    };

    private readonly Option<int[]> _capacities = new("--capacity")
    {
        Description = $"Blocks that the store holds; may be repeated. Else {string.Join(", ", DefaultCapacities)}.",
        HelpName = "BLOCKS",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<string[]> _policies = new("--policy")
    {
        Description = "In which order blocks go: lru, lfu or cost; may be repeated. Else all of them.",
        HelpName = "POLICY",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly IntOption _blockTokens = new(
        "--block-tokens", "Tokens of a block of the trace.", BlockTokensOfTraces, 1, BlockTokensMax);

    private readonly IntOption _tokenBytes = new(
        "--token-bytes", "Bytes of a token's KV, to print capacities in bytes too; see `mooncake model info`.", 0, 0,
        TokenBytesMax);

    private StorePlanCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var plan = new StorePlanCommand(terminal);
        var command = new Command("plan", "Prints the hit rate of a trace against the store's capacity.")
        {
            plan._trace, plan._capacities, plan._policies, plan._blockTokens.Option, plan._tokenBytes.Option,
            plan._json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
        {
            plan.Run(parsed, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }

    private static List<EvictionPolicyKind> Policies(string[]? names)
    {
        var known = Enum.GetValues<EvictionPolicyKind>();
        if (names is not { Length: > 0 })
        {
            return [.. known];
        }

        var accepted = known.ToDictionary(static kind => kind.ToString().ToLowerInvariant());
        return [.. names.Distinct().Select(name => accepted.TryGetValue(name, out var kind)
            ? kind
            : throw new CommandException(
                $"--policy {name}: expected {string.Join(", ", accepted.Keys)}", ExitCode.Usage))];
    }

    private static List<int> Capacities(int[]? given)
    {
        foreach (var capacity in given ?? [])
        {
            if (capacity < 1)
            {
                throw new CommandException($"--capacity {capacity}: expected at least 1", ExitCode.Usage);
            }
        }

        return [.. (given is { Length: > 0 } ? given : DefaultCapacities).Distinct().Order()];
    }

    private static Table TableOf(CapacityPlan plan)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("capacity", "policy", "blocks found", "tokens found", "work saved", "evicted");
        foreach (var rate in plan.Rates.Append(plan.Unlimited))
        {
            table.AddRow(
                Capacity(rate, plan),
                PolicyOf(rate),
                Percent(rate.BlockHitPercent),
                Percent(rate.TokenHitPercent),
                Percent(rate.WorkSavedPercent),
                rate.Evicted.ToString("N0", CultureInfo.InvariantCulture));
        }

        return table;
    }

    private static string Capacity(HitRate rate, CapacityPlan plan)
    {
        var blocks = rate.CapacityBlocks ?? plan.UniqueBlocks;
        var text = string.Create(CultureInfo.InvariantCulture, $"{blocks:N0} blocks");
        if (plan.BlockBytes is { } bytes)
        {
            text += $", {ByteSize.Approximate(blocks * bytes)}";
        }

        return rate.CapacityBlocks is null ? $"unlimited: {text}" : text;
    }

    private static string PolicyOf(HitRate rate) => rate.Policy?.ToString().ToLowerInvariant() ?? "-";

    private static string Percent(double value) => value.ToString("0.00", CultureInfo.InvariantCulture) + " %";

    private void Run(ParseResult parsed, CancellationToken cancellationToken)
    {
        var blockTokens = _blockTokens.Read(parsed);
        var tokenBytes = _tokenBytes.Read(parsed);
        var plan = CapacityPlan.Make(
            parsed.GetValue(_trace)!,
            blockTokens,
            tokenBytes == 0 ? null : (long)tokenBytes * blockTokens,
            Capacities(parsed.GetValue(_capacities)),
            Policies(parsed.GetValue(_policies)),
            _terminal,
            cancellationToken);
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(plan);
            return;
        }

        _terminal.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{plan.Requests:N0} requests, {plan.Blocks:N0} blocks of {plan.BlockTokens} tokens, " +
            $"{plan.UniqueBlocks:N0} different"));
        _terminal.WriteTable(TableOf(plan));
        Draw(plan);
    }

    // Bars as long as the share of what a store without limit would find.
    private void Draw(CapacityPlan plan)
    {
        var best = Math.Max(plan.Unlimited.BlockHitPercent, double.Epsilon);
        foreach (var capacity in plan.Rates.GroupBy(static rate => rate.CapacityBlocks))
        {
            var label = string.Create(CultureInfo.InvariantCulture, $"{capacity.Key:N0}");
            foreach (var rate in capacity)
            {
                var filled = (int)Math.Round(BarCells * Math.Clamp(rate.BlockHitPercent / best, 0, 1));
                _terminal.Output.WriteLine(
                    $"{label,12} {PolicyOf(rate),-4} {new string('█', filled)}{new string('░', BarCells - filled)} " +
                    Percent(rate.BlockHitPercent));
                label = "";
            }
        }
    }
}
