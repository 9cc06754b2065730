using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>What commands that compute by themselves have in common: threads, arithmetic, instructions, KV.</summary>
internal static class ComputeOptions
{
    private const int ThreadsMax = 1024;

    public static IntOption Threads() => new("--threads", "Threads; 0 is one for each core.", 0, 0, ThreadsMax);

    /// <param name="first">The default, one of both.</param>
    public static Option<string> Arithmetic(string first) => Named(
        "--arithmetic", "fast: inputs rounded where the weights are, a worker's default; exact: single precision.",
        first, first == "fast" ? "exact" : "fast");

    public static Option<string> Instructions() => Named(
        "--instructions", "Instructions of the kernels; auto: the best that the machine has.",
        "auto", "portable", "avx-vnni", "avx512", "amx");

    public static Option<string> KvType() => Named(
        "--kv-type", "What keys and values are cached as, as worker.kv_type.", "auto", "f32", "bf16", "q8");

    /// <summary>An option with one of some values; the first is the default.</summary>
    public static Option<string> Named(string name, string description, params string[] values)
    {
        var option = new Option<string>(name)
        {
            Description = description,
            HelpName = "NAME",
            DefaultValueFactory = _ => values[0],
        };
        option.AcceptOnlyFromAmong(values);
        return option;
    }

    /// <summary>Makes what such options ask for.</summary>
    /// <exception cref="CommandException">The machine cannot do it, or a value does not go with the model.</exception>
    public static T Checked<T>(Func<T> create)
    {
        try
        {
            return create();
        }
        catch (Exception fault) when (fault is ArgumentException or PlatformNotSupportedException)
        {
            throw new CommandException(fault.Message, ExitCode.Usage);
        }
    }
}
