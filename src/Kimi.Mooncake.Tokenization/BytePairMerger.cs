namespace Kimi.Mooncake.Tokenization;

/// <summary>
/// Merges the bytes of one piece: always the adjacent pair of lowest rank, the leftmost of equals. Symbols form a
/// linked list and candidate pairs a heap, so a piece of n bytes costs n log n. Scratch space is kept between pieces.
/// </summary>
/// <param name="vocabulary">Tokens and merges.</param>
internal sealed class BytePairMerger(BpeVocabulary vocabulary)
{
    private readonly PriorityQueue<int, long> _candidates = new();
    private int[] _token = new int[64];
    private int[] _previous = new int[64];
    private int[] _next = new int[64];
    private int[] _rank = new int[64];

    /// <summary>Appends the tokens of one piece.</summary>
    /// <param name="piece">Its bytes, at least one.</param>
    /// <param name="destination">Where the ids go.</param>
    public void Encode(ReadOnlySpan<byte> piece, List<int> destination)
    {
        Prepare(piece);
        while (_candidates.TryDequeue(out var left, out var priority))
        {
            // An entry is stale once its left symbol was merged away or now pairs with something else.
            if (_rank[left] == (int)(priority >> 32))
            {
                Merge(left, piece.Length);
            }
        }

        for (var i = 0; i < piece.Length; i = _next[i])
        {
            destination.Add(_token[i]);
        }
    }

    private void Prepare(ReadOnlySpan<byte> piece)
    {
        if (_token.Length < piece.Length)
        {
            var size = Math.Max(piece.Length, _token.Length * 2);
            _token = new int[size];
            _previous = new int[size];
            _next = new int[size];
            _rank = new int[size];
        }

        for (var i = 0; i < piece.Length; i++)
        {
            _token[i] = vocabulary.ByteToken(piece[i]);
            _previous[i] = i - 1;
            _next[i] = i + 1;
        }

        for (var i = 0; i < piece.Length; i++)
        {
            Propose(i, piece.Length);
        }
    }

    private void Merge(int left, int end)
    {
        var right = _next[left];
        _token[left] = vocabulary.FindMerge(_token[left], _token[right]).Product;
        _rank[right] = int.MaxValue;
        _next[left] = _next[right];
        if (_next[left] < end)
        {
            _previous[_next[left]] = left;
        }

        Propose(left, end);
        if (_previous[left] >= 0)
        {
            Propose(_previous[left], end);
        }
    }

    private void Propose(int left, int end)
    {
        var right = _next[left];
        _rank[left] = right < end ? vocabulary.FindMerge(_token[left], _token[right]).Rank : int.MaxValue;
        if (_rank[left] != int.MaxValue)
        {
            _candidates.Enqueue(left, ((long)_rank[left] << 32) | (uint)left);
        }
    }
}
