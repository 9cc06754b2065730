using System.Globalization;

namespace Kimi.Mooncake.Core;

/// <summary>The type in which cached keys and values are stored, which is the type that attention reads.</summary>
public enum KvElementType
{
    /// <summary>IEEE single precision, 4 bytes.</summary>
    F32 = 0,

    /// <summary>The upper half of a single, 2 bytes.</summary>
    BF16 = 1,

    /// <summary>
    /// Signed bytes for the latent, a scale (a single) for each <see cref="KvLayout.Q8GroupValues"/> of them, of which
    /// the last group may have fewer; <see cref="BF16"/> for the rotated key.
    /// </summary>
    Q8 = 2,
}

/// <summary>
/// How one block lies in memory, in the store and on the wire: <c>[layer][token][row]</c>, little-endian. For
/// multi-head latent attention the values of a token in a layer are the normalised latent followed by the rotated
/// shared key. A row holds them in this order without padding; one of <see cref="KvElementType.Q8"/> holds the latent's
/// scales, the rotated key, the latent's bytes, and zeros up to a multiple of 4 bytes.
/// </summary>
/// <param name="ElementType">Type of the values.</param>
/// <param name="LayerCount">Layers of the model.</param>
/// <param name="LatentRank">Values of the latent (<c>kv_lora_rank</c>).</param>
/// <param name="RopeDimension">Values of the rotated key (<c>qk_rope_head_dim</c>).</param>
/// <param name="BlockTokens">Tokens in a block, a power of two from 16 to 512.</param>
public sealed record KvLayout(
    KvElementType ElementType, int LayerCount, int LatentRank, int RopeDimension, int BlockTokens)
{
    /// <summary>Fewest tokens in a block.</summary>
    public const int BlockTokensMin = 16;

    /// <summary>Most tokens in a block.</summary>
    public const int BlockTokensMax = 512;

    /// <summary>Tokens in a block unless configured.</summary>
    public const int BlockTokensDefault = 64;

    /// <summary>Values of the latent that share a scale in <see cref="KvElementType.Q8"/>.</summary>
    public const int Q8GroupValues = 64;

    private const int Bf16Bytes = sizeof(ushort);

    // Type, layers, latent, rope, block.
    private const int DescribedParts = 5;

    /// <summary>Values that a token has in each layer.</summary>
    public int ValuesPerTokenAndLayer => checked(LatentRank + RopeDimension);

    /// <summary>Scales of a row of <see cref="KvElementType.Q8"/>.</summary>
    public int Q8Groups => ((LatentRank - 1) / Q8GroupValues) + 1;

    /// <summary>Bytes of a row: of a token in one layer.</summary>
    /// <exception cref="OverflowException">They are more than <see cref="int.MaxValue"/>.</exception>
    public int BytesPerTokenAndLayer => checked((int)RowBytes);

    /// <summary>Bytes that a token takes over all layers.</summary>
    /// <exception cref="OverflowException">They are more than <see cref="int.MaxValue"/>.</exception>
    public int BytesPerToken => checked(BytesPerTokenAndLayer * LayerCount);

    /// <summary>Bytes of one layer of a block.</summary>
    /// <exception cref="OverflowException">They are more than <see cref="int.MaxValue"/>.</exception>
    public int BytesPerBlockLayer => checked(BytesPerTokenAndLayer * BlockTokens);

    /// <summary>Bytes of a block.</summary>
    /// <exception cref="OverflowException">They are more than <see cref="int.MaxValue"/>.</exception>
    public int BytesPerBlock => checked(BytesPerBlockLayer * LayerCount);

    /// <summary>Whether a block has at most <see cref="int.MaxValue"/> bytes, as its sizes require.</summary>
    public bool IsAddressable => RowBytes <= int.MaxValue / BlockTokens / LayerCount;

    private long RowBytes => ElementType switch
    {
        KvElementType.F32 => ((long)LatentRank + RopeDimension) * sizeof(float),
        KvElementType.BF16 => ((long)LatentRank + RopeDimension) * Bf16Bytes,
        KvElementType.Q8 => Padded(((long)Q8Groups * sizeof(float)) + ((long)RopeDimension * Bf16Bytes) + LatentRank),
        _ => throw new InvalidOperationException($"unknown KV element type {ElementType}"),
    };

    /// <summary>Whether <paramref name="tokens"/> can be a block size.</summary>
    public static bool IsBlockSize(int tokens) =>
        tokens is >= BlockTokensMin and <= BlockTokensMax && (tokens & (tokens - 1)) == 0;

    /// <summary>A stable text of the layout; part of every block key and of every stored block's header.</summary>
    public string Describe() =>
        $"{ElementType}/layers={LayerCount}/latent={LatentRank}/rope={RopeDimension}/block={BlockTokens}";

    /// <summary>
    /// The layout that <see cref="Describe"/> gave the text of; null where it is the text of none, or of one that is
    /// not <see cref="IsAddressable"/>.
    /// </summary>
    public static KvLayout? Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Split('/');
        if (parts.Length != DescribedParts || !Enum.TryParse<KvElementType>(parts[0], out var type)
            || !Enum.IsDefined(type))
        {
            return null;
        }

        var values = new int[DescribedParts];
        for (var i = 1; i < DescribedParts; i++)
        {
            var at = parts[i].IndexOf('=', StringComparison.Ordinal);
            if (!int.TryParse(parts[i].AsSpan(at + 1), CultureInfo.InvariantCulture, out values[i]) || values[i] < 1)
            {
                return null;
            }
        }

        var layout = new KvLayout(type, values[1], values[2], values[3], values[4]);
        return layout.IsAddressable && layout.Describe() == text ? layout : null;
    }

    private static long Padded(long bytes) => (bytes + sizeof(float) - 1) / sizeof(float) * sizeof(float);
}
