using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Protocol;

/// <summary>The model card between its message and its record. What comes in is checked.</summary>
public static class ModelMessages
{
    private const int FingerprintChars = 64;
    private const int ModelIdCharsMax = 4096;

    /// <summary>The message of a card.</summary>
    public static Wire.DescribeResponse ToMessage(ModelCard card)
    {
        ArgumentNullException.ThrowIfNull(card);
        return new Wire.DescribeResponse
        {
            ModelId = card.ModelId,
            ContextLength = checked((uint)card.ContextLength),
            VocabularySize = checked((uint)card.VocabularySize),
            Fingerprint = card.Fingerprint,
            KvLayout = new Wire.KvLayout
            {
                ElementType = card.KvLayout.ElementType switch
                {
                    KvElementType.F32 => Wire.KvElementType.F32,
                    KvElementType.BF16 => Wire.KvElementType.Bf16,
                    KvElementType.Q8 => Wire.KvElementType.Q8,
                    _ => throw new ArgumentException($"unknown type {card.KvLayout.ElementType}", nameof(card)),
                },
                LayerCount = checked((uint)card.KvLayout.LayerCount),
                LatentRank = checked((uint)card.KvLayout.LatentRank),
                RopeDimension = checked((uint)card.KvLayout.RopeDimension),
                BlockTokens = checked((uint)card.KvLayout.BlockTokens),
            },
            CreatedUnixSeconds = card.CreatedUnixSeconds,
        };
    }

    /// <summary>The card of a message.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static ModelCard ToCard(Wire.DescribeResponse message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return new ModelCard(
            FieldCheck.Text(message.ModelId, "model_id", 1, ModelIdCharsMax),
            FieldCheck.Count(message.ContextLength, "context_length", min: 1),
            FieldCheck.Count(message.VocabularySize, "vocabulary_size", min: 1),
            message.Fingerprint.Length == FingerprintChars && message.Fingerprint.All(char.IsAsciiHexDigit)
                ? message.Fingerprint
                : throw FieldCheck.Fault("fingerprint", $"'{message.Fingerprint}'", "64 hexadecimal digits"),
            ToLayout(message.KvLayout ?? throw FieldCheck.Fault("kv_layout", "absent", "a layout")),
            message.CreatedUnixSeconds);
    }

    private static KvLayout ToLayout(Wire.KvLayout message)
    {
        var type = message.ElementType switch
        {
            Wire.KvElementType.F32 => KvElementType.F32,
            Wire.KvElementType.Bf16 => KvElementType.BF16,
            Wire.KvElementType.Q8 => KvElementType.Q8,
            _ => throw FieldCheck.Fault("kv_layout.element_type", $"{message.ElementType}", "F32, BF16 or Q8"),
        };
        var blockTokens = FieldCheck.Count(message.BlockTokens, "kv_layout.block_tokens");
        var layout = new KvLayout(
            type,
            FieldCheck.Count(message.LayerCount, "kv_layout.layer_count", min: 1),
            FieldCheck.Count(message.LatentRank, "kv_layout.latent_rank", min: 1),
            FieldCheck.Count(message.RopeDimension, "kv_layout.rope_dimension"),
            KvLayout.IsBlockSize(blockTokens)
                ? blockTokens
                : throw FieldCheck.Fault("kv_layout.block_tokens", $"{blockTokens}",
                    $"a power of two from {KvLayout.BlockTokensMin} to {KvLayout.BlockTokensMax}"));
        return layout.IsAddressable
            ? layout
            : throw FieldCheck.Fault("kv_layout", layout.Describe(), $"blocks of at most {int.MaxValue} bytes");
    }
}
