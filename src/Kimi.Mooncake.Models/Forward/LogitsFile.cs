using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Conversion;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models;

/// <summary>Computes the logits after every position of a sequence and writes them to a file.</summary>
public static class LogitsFile
{
    private const int BlockTokens = 64;

    /// <summary>
    /// Writes a row of little-endian singles for each position, as many as the vocabulary has tokens, as soon as they
    /// are computed. The file appears when it is complete.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="kernels">Where it is computed.</param>
    /// <param name="tokens">The sequence.</param>
    /// <param name="path">File to write.</param>
    /// <param name="chunkTokens">Tokens of a forward pass; their logits are all that is held in memory.</param>
    /// <param name="decode">Whether tokens are computed one at a time with attention in the absorbed form.</param>
    /// <param name="kvType">In what keys and values are cached.</param>
    /// <param name="progress">Receives the positions written so far.</param>
    /// <param name="cancellationToken">Ends it between two passes; nothing is left behind.</param>
    /// <exception cref="ArgumentException">There is no token, or one that the model does not have.</exception>
    /// <exception cref="ModelFileException">The model is malformed or incomplete.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(
        ModelSource source,
        IKernels kernels,
        int[] tokens,
        string path,
        int chunkTokens,
        bool decode,
        KvElementType kvType = KvElementType.F32,
        IProgress<int>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        Check(tokens, source.Config);
        var rows = decode ? 1 : Math.Min(chunkTokens, tokens.Length);
        using var model = new KimiModel(source, kernels, rows, rows);
        var blocks = (tokens.Length + BlockTokens - 1) / BlockTokens;
        using var kv = new PagedKvMemory(KimiModel.LayoutOf(source.Config, BlockTokens, kvType), blocks);
        int[] table = [.. Enumerable.Range(0, blocks)];
        var batch = new ForwardBatch();
        AtomicFile.Write(path, stream =>
        {
            for (var start = 0; start < tokens.Length; start += rows)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var count = Math.Min(rows, tokens.Length - start);
                batch.Clear();
                batch.Add(tokens.AsSpan(start, count), start, table, decode, LogitsWanted.All);
                var logits = model.Forward(batch, kv);
                for (var row = 0; row < count; row++)
                {
                    stream.Write(MemoryMarshal.AsBytes(logits.Row(row)));
                }

                progress?.Report(start + count);
            }
        });
    }

    private static void Check(int[] tokens, KimiConfig config)
    {
        if (tokens.Length == 0)
        {
            throw new ArgumentException("there are no tokens; expected at least one", nameof(tokens));
        }

        if (tokens.Length > config.ContextLength)
        {
            throw new ArgumentException(
                $"{tokens.Length} tokens; the model has {config.ContextLength} positions", nameof(tokens));
        }

        for (var i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)config.VocabularySize)
            {
                throw new ArgumentException(
                    $"token {i} is {tokens[i]}; ids are 0 to {config.VocabularySize - 1}", nameof(tokens));
            }
        }
    }
}
