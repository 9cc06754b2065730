using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// The tokens of a model and the order in which pairs of them merge, as a GGUF file holds them. Immutable.
/// </summary>
/// <remarks>
/// Invariants: every one of the 256 bytes is a token of its own, so any text can be encoded; token strings are unique;
/// a merge's parts are tokens. A merge whose product is not a token can never apply and is only counted.
/// </remarks>
public sealed class BpeVocabulary
{
    private const int TypeNormal = 1;
    private const int TypeControl = 3;
    private const int TypeUserDefined = 4;
    private const int TypeUnused = 5;

    private readonly byte[][] _bytes;
    private readonly bool[] _special;
    private readonly int[] _byteTokens = new int[256];
    private readonly Dictionary<string, int> _specials = new(StringComparer.Ordinal);
    private readonly Dictionary<ulong, Merge> _merges;

    /// <summary>Builds a vocabulary from the arrays of a model file.</summary>
    /// <param name="tokens">Token strings by id: in the byte alphabet, or plain text for control tokens.</param>
    /// <param name="tokenTypes">1 normal, 3 control, 4 user-defined (matched like control), 5 unused; by id.</param>
    /// <param name="merges">Pairs <c>left right</c> in the byte alphabet, first merged first.</param>
    /// <exception cref="InvalidDataException">An entry is wrong; the message names its index.</exception>
    public BpeVocabulary(
        IReadOnlyList<string> tokens, IReadOnlyList<int> tokenTypes, IReadOnlyList<string> merges)
    {
        if (tokens.Count != tokenTypes.Count)
        {
            throw new InvalidDataException($"{tokens.Count} tokens but {tokenTypes.Count} token types");
        }

        _bytes = new byte[tokens.Count][];
        _special = new bool[tokens.Count];
        var ids = new Dictionary<string, int>(tokens.Count, StringComparer.Ordinal);
        for (var id = 0; id < tokens.Count; id++)
        {
            AddToken(id, tokens[id], tokenTypes[id], ids);
        }

        for (var value = 0; value < 256; value++)
        {
            var name = ByteAlphabet.Write([(byte)value]);
            _byteTokens[value] = ids.TryGetValue(name, out var id)
                ? id
                : throw new InvalidDataException($"no token for byte 0x{value:X2} (expected the string '{name}')");
        }

        _merges = new Dictionary<ulong, Merge>(merges.Count);
        var lookup = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        for (var rank = 0; rank < merges.Count; rank++)
        {
            AddMerge(rank, merges[rank], lookup);
        }

        SpecialStarts = SearchValues.Create([.. _specials.Keys], StringComparison.Ordinal);
    }

    /// <summary>Number of token ids.</summary>
    public int Count => _bytes.Length;

    /// <summary>Most bytes that a token of ordinary text stands for.</summary>
    public int TokenBytesMax { get; private set; }

    /// <summary>Merges that can never apply, because what they would make is not a token.</summary>
    public int MergesWithoutToken { get; private set; }

    /// <summary>Texts of the control tokens.</summary>
    public IReadOnlyCollection<string> Specials => _specials.Keys;

    /// <summary>Whether any pair merges; without one each byte is encoded by itself.</summary>
    internal bool HasMerges => _merges.Count > 0;

    /// <summary>Finds where a control token's text begins.</summary>
    internal SearchValues<string> SpecialStarts { get; }

    /// <summary>The bytes a token stands for; for a control token, its name in UTF-8.</summary>
    /// <param name="id">0 to <see cref="Count"/> - 1.</param>
    public ReadOnlySpan<byte> Bytes(int id) => _bytes[id];

    /// <summary>Whether a token is a control token, which never comes from or becomes ordinary text.</summary>
    /// <param name="id">0 to <see cref="Count"/> - 1.</param>
    internal bool IsSpecial(int id) => _special[id];

    /// <summary>Finds a control token by its text.</summary>
    /// <param name="text">Such as <c>&lt;|im_end|&gt;</c>.</param>
    /// <param name="id">Its id.</param>
    internal bool TryGetSpecial(string text, out int id) => _specials.TryGetValue(text, out id);

    /// <summary>The token of one byte.</summary>
    internal int ByteToken(byte value) => _byteTokens[value];

    /// <summary>Rank and product of a pair; <see cref="Merge.None"/> where the pair does not merge.</summary>
    internal Merge FindMerge(int left, int right) =>
        _merges.TryGetValue(PairKey(left, right), out var merge) ? merge : Merge.None;

    /// <summary>
    /// A pair as one number, spread by an odd (so invertible) factor: the plain number's hash is left XOR right,
    /// which is 0 for every doubled token.
    /// </summary>
    private static ulong PairKey(int left, int right) =>
        (((ulong)(uint)left << 32) | (uint)right) * 0x9E37_79B9_7F4A_7C15;

    private void AddToken(int id, string text, int type, Dictionary<string, int> ids)
    {
        if (type is TypeControl or TypeUserDefined)
        {
            if (text.Length == 0 || !_specials.TryAdd(text, id))
            {
                throw new InvalidDataException($"token {id}: control token '{text}' is empty or occurs twice");
            }

            _bytes[id] = Encoding.UTF8.GetBytes(text);
            _special[id] = true;
            return;
        }

        if (type is not (TypeNormal or TypeUnused))
        {
            throw new InvalidDataException($"token {id} ('{text}'): type {type}, expected 1, 3, 4 or 5");
        }

        if (!ByteAlphabet.TryRead(text, out var bytes) || bytes!.Length == 0)
        {
            throw new InvalidDataException($"token {id} ('{text}') is empty or not in the GPT-2 byte alphabet");
        }

        if (!ids.TryAdd(text, id))
        {
            throw new InvalidDataException($"token {id} ('{text}') is also token {ids[text]}");
        }

        _bytes[id] = bytes;
        TokenBytesMax = Math.Max(TokenBytesMax, bytes.Length);
    }

    private void AddMerge(
        int rank, string text, Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup)
    {
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        if (space <= 0 || space == text.Length - 1)
        {
            throw new InvalidDataException($"merge {rank} ('{text}') is not two tokens separated by a space");
        }

        var leftText = text.AsSpan(0, space);
        var rightText = text.AsSpan(space + 1);
        if (!lookup.TryGetValue(leftText, out var left) || !lookup.TryGetValue(rightText, out var right))
        {
            throw new InvalidDataException($"merge {rank} ('{text}') names a part that is not a token");
        }

        if (!lookup.TryGetValue(string.Concat(leftText, rightText), out var product))
        {
            MergesWithoutToken++;
            return;
        }

        ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(_merges, PairKey(left, right), out var exists);
        if (exists)
        {
            throw new InvalidDataException($"merge {rank} ('{text}') is also merge {slot.Rank}");
        }

        slot = new Merge(rank, product);
    }

    /// <summary>What a pair becomes.</summary>
    /// <param name="Rank">Lower merges first.</param>
    /// <param name="Product">The token it becomes.</param>
    internal readonly record struct Merge(int Rank, int Product)
    {
        public static readonly Merge None = new(int.MaxValue, -1);
    }
}
