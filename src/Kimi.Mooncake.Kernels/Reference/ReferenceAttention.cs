namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>Attention by the book, in double precision; scratch grows with the context.</summary>
internal sealed unsafe class ReferenceAttention
{
    private double[] _keys = [];
    private double[] _values = [];
    private double[] _scores = [];
    private double[] _latent = [];
    private float[] _row = [];

    /// <summary>Expanded form: a head's keys and values of all positions, then each row over those it sees.</summary>
    internal void Prefill(
        RowMajorAttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> table,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation)
    {
        var shape = weight.Shape;
        var positions = firstPosition + q.Rows;
        Grow(ref _scores, positions);
        for (var head = 0; head < shape.HeadCount; head++)
        {
            weight.Select(head);
            Expand(weight, kv, layer, table, positions);
            for (var row = 0; row < q.Rows && !cancellation.IsCancellationRequested; row++)
            {
                var query = q.Row(row).Slice(head * shape.QueryDimension, shape.QueryDimension);
                var target = output.Row(row).Slice(head * shape.ValueDimension, shape.ValueDimension);
                var scores = _scores.AsSpan(0, firstPosition + row + 1);
                for (var p = 0; p < scores.Length; p++)
                {
                    var sum = 0.0;
                    for (var d = 0; d < query.Length; d++)
                    {
                        sum += query[d] * _keys[((long)p * query.Length) + d];
                    }

                    scores[p] = sum * shape.Scale;
                }

                Softmax(scores);
                for (var d = 0; d < target.Length; d++)
                {
                    var sum = 0.0;
                    for (var p = 0; p < scores.Length; p++)
                    {
                        sum += scores[p] * _values[((long)p * target.Length) + d];
                    }

                    target[d] = (float)sum;
                }
            }
        }
    }

    /// <summary>Absorbed form of one row: the query moves into the latent space and the result back.</summary>
    internal void Decode(
        RowMajorAttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> table,
        int contextLength,
        ReadOnlySpan<float> q,
        Span<float> output)
    {
        var shape = weight.Shape;
        Grow(ref _scores, contextLength);
        Grow(ref _latent, shape.LatentRank);
        var scores = _scores.AsSpan(0, contextLength);
        for (var head = 0; head < shape.HeadCount; head++)
        {
            weight.Select(head);
            var query = q.Slice(head * shape.QueryDimension, shape.QueryDimension);
            for (var j = 0; j < shape.LatentRank; j++)
            {
                _latent[j] = Dot(weight.KeyUp(j), query[..shape.NopeDimension]);
            }

            for (var p = 0; p < contextLength; p++)
            {
                var cached = Cached(kv, layer, table, p);
                var sum = Dot(cached[shape.LatentRank..], query[shape.NopeDimension..]);
                for (var j = 0; j < shape.LatentRank; j++)
                {
                    sum += _latent[j] * cached[j];
                }

                scores[p] = sum * shape.Scale;
            }

            Softmax(scores);
            Array.Clear(_latent, 0, shape.LatentRank);
            for (var p = 0; p < contextLength; p++)
            {
                var cached = Cached(kv, layer, table, p);
                for (var j = 0; j < shape.LatentRank; j++)
                {
                    _latent[j] += scores[p] * cached[j];
                }
            }

            for (var d = 0; d < shape.ValueDimension; d++)
            {
                var up = weight.ValueUp(d);
                var sum = 0.0;
                for (var j = 0; j < shape.LatentRank; j++)
                {
                    sum += up[j] * _latent[j];
                }

                output[(head * shape.ValueDimension) + d] = (float)sum;
            }
        }
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sum = 0.0;
        for (var i = 0; i < b.Length; i++)
        {
            sum += (double)a[i] * b[i];
        }

        return sum;
    }

    private static void Softmax(Span<double> scores)
    {
        var max = double.NegativeInfinity;
        foreach (var score in scores)
        {
            max = Math.Max(max, score);
        }

        var sum = 0.0;
        foreach (ref var score in scores)
        {
            score = Math.Exp(score - max);
            sum += score;
        }

        foreach (ref var score in scores)
        {
            score /= sum;
        }
    }

    private static void Grow(ref double[] scratch, long length)
    {
        if (scratch.Length < length)
        {
            scratch = new double[length];
        }
    }

    /// <summary>A cached row as singles; valid until the next.</summary>
    private ReadOnlySpan<float> Cached(PagedKvMemory kv, int layer, ReadOnlySpan<int> table, int position)
    {
        if (_row.Length != kv.Layout.ValuesPerTokenAndLayer)
        {
            _row = new float[kv.Layout.ValuesPerTokenAndLayer];
        }

        var (block, token) = Math.DivRem(position, kv.Layout.BlockTokens);
        kv.Read(table[block], layer, token, _row);
        return _row;
    }

    private void Expand(
        RowMajorAttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> table,
        int positions)
    {
        var shape = weight.Shape;
        Grow(ref _keys, (long)positions * shape.QueryDimension);
        Grow(ref _values, (long)positions * shape.ValueDimension);
        for (var p = 0; p < positions; p++)
        {
            var cached = Cached(kv, layer, table, p);
            var latent = cached[..shape.LatentRank];
            var key = _keys.AsSpan(p * shape.QueryDimension, shape.QueryDimension);
            key.Clear();
            for (var j = 0; j < latent.Length; j++)
            {
                var up = weight.KeyUp(j);
                for (var d = 0; d < shape.NopeDimension; d++)
                {
                    key[d] += (double)latent[j] * up[d];
                }
            }

            for (var d = 0; d < shape.RopeDimension; d++)
            {
                key[shape.NopeDimension + d] = cached[shape.LatentRank + d];
            }

            for (var d = 0; d < shape.ValueDimension; d++)
            {
                _values[((long)p * shape.ValueDimension) + d] = Dot(weight.ValueUp(d), latent);
            }
        }
    }
}
