using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// How parts of a tile of cached bytes lie in working memory, turned for either product. For scores, 32 keys: word
/// after word of a row those of all keys; first the scales of a row, then its rotated key, then its latent, four bytes
/// to a word, 128 added to each. For sums, 64 latents: of each half four keys after another, of each latent the bytes
/// of four keys in a word; the i-th vector of a group has the latents 4 i to 4 i + 3 of each 16.
/// </summary>
/// <param name="layout">Layout of the cached rows.</param>
internal readonly struct ByteTileShape(KvLayout layout)
{
    /// <summary>Latents that share a scale.</summary>
    internal const int GroupValues = KvLayout.Q8GroupValues;

    /// <summary>Words of their bytes.</summary>
    internal const int GroupWords = GroupValues / sizeof(uint);

    /// <summary>Keys of a pair of vectors.</summary>
    internal const int PairKeys = 32;

    /// <summary>Bytes of a word of each of them; of four keys of 32 latents too.</summary>
    internal const int StepBytes = PairKeys * sizeof(uint);

    /// <summary>Keys that a word of a sum has.</summary>
    internal const int QuadKeys = 4;

    /// <summary>Four keys after another in a tile.</summary>
    internal const int TileQuads = KeyTiles.TileKeys / QuadKeys;

    private const int WordsAtOnce = 4;
    private const int LineBytes = 64;
    private const int HeadWordBytes = KeyTiles.Heads * sizeof(uint);

    /// <summary>Groups of latents.</summary>
    internal int Groups { get; } = layout.Q8Groups;

    /// <summary>Pairs of rotated values.</summary>
    internal int RopePairs { get; } = (layout.RopeDimension + 1) / 2;

    /// <summary>Bytes of a row before its latent.</summary>
    internal int HeaderBytes => (Groups + RopePairs) * sizeof(uint);

    /// <summary>Sixteen bytes after another of a row before its latent.</summary>
    internal int HeaderColumns => (Groups + RopePairs + WordsAtOnce - 1) / WordsAtOnce;

    /// <summary>Bytes of a row that is copied: the last group whole, and what is turned too much.</summary>
    internal int StagedRowBytes => HeaderBytes + (Groups * GroupValues) + (WordsAtOnce * sizeof(uint));

    /// <summary>Where the rotated keys begin, behind the scales.</summary>
    internal int RopeAt => Groups * StepBytes;

    /// <summary>Where the latents do.</summary>
    internal int LatentsAt => HeaderColumns * WordsAtOnce * StepBytes;

    /// <summary>Bytes of 32 keys for scores.</summary>
    internal int PairBytes => LatentsAt + (Groups * GroupWords * StepBytes);

    /// <summary>Bytes of 32 latents for sums.</summary>
    internal const int HalfGroupBytes = TileQuads * StepBytes;

    /// <summary>Where the latents of eight heads' queries begin, behind the rotated values.</summary>
    internal int QueryLatentsAt => RopePairs * HeadWordBytes;

    /// <summary>Where their scales do.</summary>
    internal int QueryScalesAt => QueryLatentsAt + (Groups * GroupWords * HeadWordBytes);

    /// <summary>Where the sums' starts do, which take away what 128 adds to the keys' bytes.</summary>
    internal int QueryStartsAt => QueryScalesAt + (Groups * HeadWordBytes);

    /// <summary>Bytes of eight heads' queries, of each word those of all heads; whole lines.</summary>
    internal int QueryBytes => (QueryStartsAt + (Groups * HeadWordBytes) + LineBytes - 1) / LineBytes * LineBytes;

    /// <summary>Values of a summed latent.</summary>
    internal int SumValues => Groups * GroupValues;

    /// <summary>Whether rows can be turned where they lie.</summary>
    internal bool IsInPlace { get; } =
        layout.LatentRank % GroupValues == 0 && layout.RopeDimension % 2 == 0;
}
