namespace Kimi.Mooncake.Core;

/// <summary>The type in which cached keys and values are stored, which is the type that attention reads.</summary>
public enum KvElementType
{
    /// <summary>IEEE single precision, 4 bytes.</summary>
    F32 = 0,
}

/// <summary>
/// How one block lies in memory, in the store and on the wire: <c>[layer][token][value]</c>, little-endian, without
/// padding. For multi-head latent attention the values of a token in a layer are the normalised latent followed by the
/// rotated shared key.
/// </summary>
/// <param name="ElementType">Type of each value.</param>
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

    /// <summary>Values that a token has in each layer.</summary>
    public int ValuesPerTokenAndLayer => LatentRank + RopeDimension;

    /// <summary>Bytes of one value.</summary>
    public int ElementBytes => ElementType switch
    {
        KvElementType.F32 => sizeof(float),
        _ => throw new InvalidOperationException($"unknown KV element type {ElementType}"),
    };

    /// <summary>Bytes that a token takes over all layers.</summary>
    public int BytesPerToken => ValuesPerTokenAndLayer * ElementBytes * LayerCount;

    /// <summary>Bytes of one layer of a block.</summary>
    public int BytesPerBlockLayer => ValuesPerTokenAndLayer * ElementBytes * BlockTokens;

    /// <summary>Bytes of a block.</summary>
    public int BytesPerBlock => BytesPerBlockLayer * LayerCount;

    /// <summary>Whether <paramref name="tokens"/> can be a block size.</summary>
    public static bool IsBlockSize(int tokens) =>
        tokens is >= BlockTokensMin and <= BlockTokensMax && (tokens & (tokens - 1)) == 0;

    /// <summary>A stable text of the layout; part of every block key and of every stored block's header.</summary>
    public string Describe() =>
        $"{ElementType}/layers={LayerCount}/latent={LatentRank}/rope={RopeDimension}/block={BlockTokens}";
}
