using System.Numerics.Tensors;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>
/// Sequences of random tokens with a KV pool of their own, for measurements without scheduler, store or server.
/// </summary>
internal sealed class BenchSequences : IDisposable
{
    private const int BlockTokens = 64;

    private readonly KimiModel _model;
    private readonly PagedKvMemory _kv;
    private readonly int[][] _tokens;
    private readonly int[][] _tables;
    private readonly int[] _next;
    private readonly ForwardBatch _batch = new();
    private readonly int _chunkTokens;

    /// <param name="model">Where they are computed.</param>
    /// <param name="count">Sequences.</param>
    /// <param name="options">Room of each, type of their KV, prompt tokens of a pass, seed of their tokens.</param>
    public BenchSequences(KimiModel model, int count, ModelBenchOptions options)
    {
        _model = model;
        _chunkTokens = options.ChunkTokens;
        var positions = options.Positions;
        var blocks = (positions + BlockTokens - 1) / BlockTokens;
        _kv = new PagedKvMemory(KimiModel.LayoutOf(model.Config, BlockTokens, options.KvType), checked(blocks * count));
        var random = new Random(options.Seed);
        _tokens = new int[count][];
        _tables = new int[count][];
        _next = new int[count];
        for (var i = 0; i < count; i++)
        {
            _tokens[i] = new int[positions];
            _tables[i] = [.. Enumerable.Range(i * blocks, blocks)];
            for (var j = 0; j < positions; j++)
            {
                _tokens[i][j] = random.Next(model.Config.VocabularySize);
            }
        }
    }

    /// <summary>Bytes of a token's KV in all layers.</summary>
    public long BytesPerToken => _kv.Layout.BytesPerToken;

    /// <summary>Bytes of the pool.</summary>
    public long PoolBytes => (long)_kv.Layout.BytesPerBlock * _kv.BlockCount;

    /// <summary>
    /// Computes positions <paramref name="from"/> to <paramref name="to"/> (exclusive) of the first sequences, one
    /// after another, with as many tokens in a pass as it takes; the last token of each gives logits.
    /// </summary>
    /// <param name="count">Sequences.</param>
    /// <param name="from">First position.</param>
    /// <param name="to">Position after the last.</param>
    /// <param name="passDone">Told the tokens of each pass when it is over.</param>
    public void Prefill(int count, int from, int to, Action<int> passDone)
    {
        _batch.Clear();
        for (var i = 0; i < count; i++)
        {
            for (var start = from; start < to;)
            {
                var tokens = Math.Min(_chunkTokens - _batch.RowCount, to - start);
                _batch.Add(
                    _tokens[i].AsSpan(start, tokens), start, _tables[i], isDecode: false,
                    start + tokens == to ? LogitsWanted.Last : LogitsWanted.None);
                start += tokens;
                if (_batch.RowCount == _chunkTokens || (i == count - 1 && start == to))
                {
                    var logits = _model.Forward(_batch, _kv);
                    Greedy(logits, Math.Min(logits.Rows, count));
                    passDone(_batch.RowCount);
                    _batch.Clear();
                }
            }
        }
    }

    /// <summary>
    /// Decodes from a depth on, overwriting what was there: the first tokens are the prompts' own, shifted by
    /// <paramref name="shift"/> so that runs differ; each further one is the greatest of the logits before.
    /// </summary>
    /// <param name="count">Sequences.</param>
    /// <param name="depth">Position of the first token; those before are computed.</param>
    /// <param name="steps">Tokens of each sequence.</param>
    /// <param name="shift">At least 0.</param>
    /// <param name="stepBegins">Called before each step.</param>
    public void Decode(int count, int depth, int steps, int shift, Action? stepBegins = null)
    {
        for (var i = 0; i < count; i++)
        {
            _next[i] = _tokens[i][(depth + shift) % _tokens[i].Length];
        }

        for (var step = 0; step < steps; step++)
        {
            stepBegins?.Invoke();
            _batch.Clear();
            for (var i = 0; i < count; i++)
            {
                _batch.Add(_next.AsSpan(i, 1), depth + step, _tables[i], isDecode: true, LogitsWanted.Last);
            }

            Greedy(_model.Forward(_batch, _kv), count);
        }
    }

    public void Dispose() => _kv.Dispose();

    private void Greedy(in MatrixView logits, int rows)
    {
        for (var i = 0; i < rows; i++)
        {
            _next[i] = TensorPrimitives.IndexOfMax(logits.Row(i));
        }
    }
}
