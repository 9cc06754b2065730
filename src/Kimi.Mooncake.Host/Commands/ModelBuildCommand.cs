using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake model build</c>: writes the built-in model as a GGUF file.</summary>
internal static class ModelBuildCommand
{
    public static Command Create(Terminal terminal)
    {
        var output = new Option<string?>("--output")
        {
            Description = "File to write; needle-TYPE.gguf in the current folder unless given.",
            HelpName = "PATH",
        };
        var type = new Option<string>("--type")
        {
            Description = "Encoding of the matrices.",
            HelpName = "TYPE",
            DefaultValueFactory = _ => "f16",
        };
        type.AcceptOnlyFromAmong("f16", "f32", "bf16");
        var json = JsonOption.Create();
        var command = new Command("build", "Writes the built-in model, the same bytes every time.")
        {
            output, type, json,
        };
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var name = parsed.GetValue(type)!;
            var path = Path.GetFullPath(parsed.GetValue(output) ?? $"needle-{name}.gguf");
            var built = await BuildAsync(path, name, cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(built);
                return;
            }

            await terminal.Output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"{built.File}: {ByteSize.Approximate(built.FileBytes)}, {built.BuildS:0.0} s, sha256 {built.Sha256}"))
                .ConfigureAwait(false);
        });
        return command;
    }

    private static async Task<BuiltModel> BuildAsync(string path, string type, CancellationToken cancellationToken)
    {
        var folder = Path.GetDirectoryName(path)!;
        if (Directory.Exists(path))
        {
            throw new CommandException($"{path} is a folder; expected a file to write", ExitCode.Usage);
        }

        Directory.CreateDirectory(folder);
        var start = Stopwatch.GetTimestamp();
        NeedleModel.Write(path, Enum.Parse<TensorType>(type, ignoreCase: true));
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var file = File.OpenRead(path);
        await using var owned = file.ConfigureAwait(false);
        var hash = await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false);
        return new BuiltModel(path, type, file.Length, seconds, Convert.ToHexStringLower(hash));
    }

    private sealed record BuiltModel(string File, string Type, long FileBytes, double BuildS, string Sha256);
}
