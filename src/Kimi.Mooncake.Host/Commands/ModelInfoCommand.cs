using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake model info MODEL</c>: what a model holds and what its KV cache costs.</summary>
internal static class ModelInfoCommand
{
    public static Command Create(Terminal terminal)
    {
        var path = new Argument<string>("MODEL") { Description = "A GGUF file, or a folder of safetensors." };
        var tensors = new Option<bool>("--tensors") { Description = "List every tensor." };
        var json = JsonOption.Create();
        var command = new Command("info", "Describes a model.") { path, tensors, json };
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            var description = ModelDescription.Read(parsed.GetValue(path)!, parsed.GetValue(tensors));
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(description);
            }
            else
            {
                Print(terminal, description);
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static void Print(Terminal terminal, ModelDescription model)
    {
        var table = new Table().Border(TableBorder.Simple).HideHeaders().AddColumns("", "");
        void Row(string name, FormattableString value) =>
            table.AddRow(name, Markup.Escape(value.ToString(CultureInfo.InvariantCulture)));

        Row("file", $"{model.File} ({model.Container}, {ByteSize.Approximate(model.FileBytes)})");
        Row("name", $"{model.Name}");
        Row("architecture", $"{model.Architecture}");
        Row("fingerprint", $"{model.Fingerprint}");
        Row("context", $"{model.ContextLengthTokens:N0} tokens");
        Row("vocabulary", $"{model.VocabularySizeTokens:N0} tokens");
        Row("hidden size", $"{model.HiddenSize:N0}");
        Row("layers", $"{model.LayerCount}, of them {model.DenseLayerCount} dense");
        Row("attention", $"{model.HeadCount} heads, query rank {model.QueryLoraRank}, KV rank {model.KvLoraRank}");
        Row("head", $"{model.NopeDimension} unrotated + {model.RopeDimension} rotated, value {model.ValueDimension}");
        Row("dense network", $"{model.IntermediateSize:N0}");
        Row("experts", $"{model.ExpertCount} of {model.ExpertIntermediateSize:N0}, {model.ExpertsPerToken} a token");
        Row("", $"weights times {model.ExpertWeightScale}");
        Row("shared experts", $"{model.SharedExpertCount}");
        Row("norms", $"epsilon {model.RmsNormEpsilon:R}, of the latents {model.LatentNormEpsilon:R}");
        Row("rotation", $"base {model.RopeBase:N0}");
        if (model.Yarn is { } yarn)
        {
            Row("YaRN", $"factor {yarn.Factor} from {yarn.OriginalContextLength:N0} tokens");
            Row("", $"beta {yarn.BetaFast} and {yarn.BetaSlow}, log multiplier {(float)yarn.LogMultiplier}");
        }

        Row("tokenizer", $"{model.Tokenizer ?? "none"}; ends: {string.Join(", ", model.EosTokens)}");
        Row("chat template", $"{(model.HasChatTemplate ? "in the files" : "none")}");
        Row("parameters", $"{model.Parameters:N0} in {model.TensorCount} tensors");
        Row("", $"{model.ActiveParameters:N0} for each token, without the embedding");
        foreach (var (type, bytes) in model.TensorBytesByType)
        {
            Row($"weights in {type}", $"{ByteSize.Approximate(bytes)}");
        }

        Row("KV cache", $"{model.KvBytesPerToken:N0} bytes for each token, as {model.KvType} unless configured");
        Row("", $"{ByteSize.Approximate(model.KvBytesPer1KTokens)} for 1,000 tokens");
        Row("", $"{ByteSize.Approximate(model.KvBytesPerBlock)} for a block of {model.BlockTokens} tokens");
        foreach (var note in model.Notes)
        {
            Row("note", $"{note}");
        }

        terminal.WriteTable(table);
        if (model.Tensors is not null)
        {
            terminal.WriteTable(TensorTable(model.Tensors));
        }
    }

    private static Table TensorTable(IEnumerable<TensorDescription> tensors)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("tensor", "type", "shape", "bytes");
        foreach (var tensor in tensors)
        {
            table.AddRow(
                Markup.Escape(tensor.Name),
                tensor.Type,
                string.Join(" x ", tensor.Shape),
                tensor.Bytes.ToString("N0", CultureInfo.InvariantCulture));
        }

        return table;
    }
}
