using System.Diagnostics.CodeAnalysis;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Sends the KV of one prompt to the worker that will decode it, each layer of a block as soon as all its tokens stand.
/// What was cached is sent when the first step begins. Called by the engine's thread; nothing here blocks or allocates.
/// </summary>
/// <remarks>
/// A frame is one layer of one block, so that their number does not depend on how the prompt is cut into chunks: a
/// block that a chunk leaves unfinished waits for the next chunk, which costs nothing, since that one is computed first
/// anyway.
/// </remarks>
[SuppressMessage(
    "Design",
    "CA1001:Types that own disposable fields should be disposable",
    Justification = "A source without timer or wait handle holds nothing, and the engine's thread may set it late.")]
internal sealed class HandOverSender
{
    private readonly PagedKvMemory _kv;
    private readonly TransferSession _session;
    private readonly TimeProvider _time;
    private readonly HandOverOptions _options;
    private readonly int _promptTokens;
    private readonly int _firstBlock;
    private readonly int[] _blockIds;
    private readonly CancellationTokenSource _failed = new();
    private bool _begun;
    private bool _isLastStep;
    private int _unsent;
    private int _whole;

    public HandOverSender(
        PagedKvMemory kv, TransferSession session, int promptTokens, int firstPosition, HandOverOptions options,
        TimeProvider time)
    {
        _kv = kv;
        _session = session;
        _time = time;
        _options = options;
        _promptTokens = promptTokens;
        _firstBlock = firstPosition / kv.Layout.BlockTokens;
        _unsent = _firstBlock;
        _blockIds = new int[BlocksOf(kv.Layout, promptTokens)];
    }

    /// <summary>Set when the session takes nothing more: the rest of the prompt need not be computed.</summary>
    public CancellationToken Failed => _failed.Token;

    /// <summary>Bytes handed to the session so far.</summary>
    public long Bytes { get; private set; }

    /// <summary>When the first frame was enqueued; 0 before.</summary>
    public long FirstFrameTimestamp { get; private set; }

    /// <summary>When the last step had been computed; 0 before.</summary>
    public long ComputedTimestamp { get; private set; }

    /// <summary>Frames of a prompt whose KV before <paramref name="firstPosition"/> is not sent.</summary>
    public static int FramesOf(KvLayout layout, int promptTokens, int firstPosition) =>
        checked((BlocksOf(layout, promptTokens) - (firstPosition / layout.BlockTokens)) * layout.LayerCount);

    /// <summary>Bytes of a prompt whose KV before <paramref name="firstPosition"/> is not sent.</summary>
    public static long BytesOf(KvLayout layout, int promptTokens, int firstPosition) =>
        (long)(promptTokens - firstPosition) * layout.BytesPerToken;

    /// <summary>A step is about to compute some positions of the prompt.</summary>
    /// <param name="blockIds">The sequence's blocks.</param>
    /// <param name="start">First position; that of the first step is where the cached prefix ends.</param>
    /// <param name="count">Positions.</param>
    public void BeginStep(ReadOnlySpan<int> blockIds, int start, int count)
    {
        var blockTokens = _kv.Layout.BlockTokens;
        _isLastStep = start + count == _promptTokens;
        _whole = Math.Max(_firstBlock, _isLastStep ? _blockIds.Length : (start + count) / blockTokens);
        blockIds[_firstBlock.._whole].CopyTo(_blockIds.AsSpan(_firstBlock));
        if (!_begun)
        {
            _begun = true;
            SendCached(start / blockTokens);
        }
    }

    /// <summary>The step's KV of a layer stands.</summary>
    public void WriteLayer(int layer)
    {
        if (_options.Overlap)
        {
            Send(_unsent, _whole, layer);
        }
    }

    /// <summary>The step is computed.</summary>
    public void EndStep()
    {
        if (_isLastStep)
        {
            ComputedTimestamp = _time.GetTimestamp();
            _options.PrefillEnded?.Invoke(ComputedTimestamp);
        }

        if (!_options.Overlap && _isLastStep)
        {
            SendAllLayers(_unsent, _whole);
        }

        if (_options.Overlap || _isLastStep)
        {
            _unsent = _whole;
        }
    }

    private static int BlocksOf(KvLayout layout, int tokens) => (tokens + layout.BlockTokens - 1) / layout.BlockTokens;

    private void SendCached(int cachedBlocks)
    {
        if (_options.Overlap && cachedBlocks > _unsent)
        {
            SendAllLayers(_unsent, cachedBlocks);
            _unsent = cachedBlocks;
        }
    }

    private void SendAllLayers(int firstBlock, int endBlock)
    {
        for (var layer = 0; layer < _kv.Layout.LayerCount; layer++)
        {
            Send(firstBlock, endBlock, layer);
        }
    }

    private void Send(int firstBlock, int endBlock, int layer)
    {
        var layout = _kv.Layout;
        var bytesPerToken = layout.BytesPerTokenAndLayer;
        for (var block = firstBlock; block < endBlock && !_failed.IsCancellationRequested; block++)
        {
            var tokens = Math.Min(layout.BlockTokens, _promptTokens - (block * layout.BlockTokens));
            if (FirstFrameTimestamp == 0)
            {
                FirstFrameTimestamp = _time.GetTimestamp();
            }

            var source = _kv.Address(_blockIds[block], layer, 0);
            if (!_session.TryEnqueue(source, tokens * bytesPerToken, block, layer * layout.BytesPerBlockLayer))
            {
                // What is registered on the token runs elsewhere: this thread has a step to compute.
                _ = _failed.CancelAsync();
                return;
            }

            Bytes += tokens * bytesPerToken;
        }
    }
}
