using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Worker.Tests.Peers;

/// <summary>The blocks of one long prompt, of which number i has tokens, key and bytes that follow from i.</summary>
internal static class PeerBlocks
{
    public const string Fingerprint = "test-model";
    private const int BlocksMax = 4096;

    private static readonly BlockKeyChain Chain = MakeChain();

    /// <summary>Blocks of 2,048 bytes.</summary>
    public static KvLayout Layout => new(KvElementType.F32, 2, 12, 4, 16);

    /// <summary>The first blocks' tokens, and one token more, which is to be computed.</summary>
    public static int[] Prompt(int blocks) => Tokens((blocks * Layout.BlockTokens) + 1);

    public static BlockKey Key(int number) => Chain.Keys[number];

    public static BlockKey[] Keys(int first, int count) => Chain.Keys.Slice(first, count).ToArray();

    public static BlockKey[] Parents(int first, int count) =>
        [.. Enumerable.Range(first, count).Select(Chain.ParentOf)];

    /// <summary>For each block the key of the first of its placement group.</summary>
    public static BlockKey[] Groups(int first, int count) =>
        [.. Enumerable.Range(first, count).Select(Chain.GroupOf)];

    public static int[] Ids(int first, int count) => [.. Enumerable.Range(first, count)];

    public static byte[] Bytes(int number)
    {
        var bytes = new byte[Layout.BytesPerBlock];
        new Random(number).NextBytes(bytes);
        return bytes;
    }

    private static BlockKeyChain MakeChain()
    {
        var chain = new BlockKeyChain(BlockKeyChain.Root(Fingerprint, Layout, ""), Layout.BlockTokens);
        chain.Extend(Tokens(BlocksMax * Layout.BlockTokens));
        return chain;
    }

    private static int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(static i => i % 251)];
}
