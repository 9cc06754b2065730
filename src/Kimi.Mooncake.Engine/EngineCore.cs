using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

/// <summary>
/// One worker's scheduler: it admits requests to a fixed pool of KV blocks, reuses cached prefixes, batches prefill
/// chunks and decoded tokens into steps, and publishes full blocks for the requests that follow.
/// </summary>
/// <remarks>
/// Called by one thread at a time. Time comes in as an argument, monotonic from any origin. What happens to sequences
/// is told in <see cref="Events"/>, which the caller reads and clears after each call.
/// Invariants, of which <see cref="CheckIntegrity"/> verifies the first and the last: every hold of a block belongs to
/// one sequence, load or save; only values computed as prompt tokens are published or stored, so that a cached prefix
/// is bit-equal to a computed one; blocks are taken from the youngest running sequence, never from an older one than
/// the taker; the running sequences are in order of arrival.
/// </remarks>
[SuppressMessage(
    "Design",
    "CA1001:Types that own disposable fields should be disposable",
    Justification = "A source without timer or wait handle holds nothing that needs to be freed.")]
public sealed partial class EngineCore
{
    private readonly EngineOptions _options;
    private readonly KvLayout _layout;
    private readonly string _modelFingerprint;
    private readonly IModelRunner _runner;
    private readonly IKvConnector? _connector;
    private readonly SaveQueue? _saves;
    private readonly BlockPool _pool;
    private readonly int[] _peerHolds;
    private readonly StepPlan _plan = new();
    private readonly StepResult _result = new();
    private readonly List<EngineEvent> _events = [];
    private readonly Dictionary<long, Sequence> _live = [];
    private readonly List<Sequence> _waiting = [];
    private readonly List<Sequence> _running = [];
    private readonly List<Sequence> _settling = [];
    private readonly Dictionary<long, Load> _loads = [];
    private readonly Dictionary<long, SwapOut> _swapOuts = [];
    private readonly Dictionary<long, Sequence> _swapIns = [];
    private readonly Dictionary<long, Sequence> _imports = [];
    private readonly Dictionary<long, Sequence> _exports = [];
    private readonly Dictionary<BlockKey, Sequence> _inFlight = [];
    private EngineCounters _counters;
    private PreemptionRates _rates;
    private CancellationTokenSource _settlingInterrupt = new();
    private long _lastId;
    private int _preemptedWaiting;
    private bool _draining;

    /// <summary>Makes an engine with an empty pool.</summary>
    /// <param name="options">Bounds.</param>
    /// <param name="layout">Layout of the KV blocks.</param>
    /// <param name="modelFingerprint">Names the weights; part of every block key.</param>
    /// <param name="blockCount">Blocks in the pool.</param>
    /// <param name="runner">Computes the steps.</param>
    /// <param name="connector">The way to stored blocks; null where there is no store.</param>
    /// <param name="recordKvEvents">Whether <see cref="KvEvents"/> are wanted; the caller then clears them.</param>
    /// <exception cref="ArgumentOutOfRangeException">A bound or the block size is out of range.</exception>
    public EngineCore(
        EngineOptions options,
        KvLayout layout,
        string modelFingerprint,
        int blockCount,
        IModelRunner runner,
        IKvConnector? connector,
        bool recordKvEvents = false)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentNullException.ThrowIfNull(runner);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PrefillChunkTokens, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.RunningSequencesMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.WaitingSequencesMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SettlingSequencesMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SavesPendingBlocksMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SaveBatchBlocksMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SwapBytesPerSecond, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.DecodeStepMicroseconds, 1);
        if (!KvLayout.IsBlockSize(layout.BlockTokens))
        {
            throw new ArgumentOutOfRangeException(
                nameof(layout), layout.BlockTokens, "tokens in a block are a power of two from 16 to 512");
        }

        _options = options;
        _layout = layout;
        _modelFingerprint = modelFingerprint;
        _runner = runner;
        _connector = connector;
        _pool = new BlockPool(blockCount) { RecordsEvents = recordKvEvents };
        _peerHolds = new int[blockCount];
        _rates = new PreemptionRates(options.SwapBytesPerSecond, options.DecodeStepMicroseconds / 1e6);
        _saves = connector is null ? null : new SaveQueue(connector, _pool, options);
    }

    /// <summary>What happened since <see cref="ClearEvents"/>, in order; valid until the next call.</summary>
    public ReadOnlySpan<EngineEvent> Events => CollectionsMarshal.AsSpan(_events);

    /// <summary>Most tokens of prompt and output together that fit the pool.</summary>
    public int SequenceTokensMax =>
        (int)Math.Min(int.MaxValue, (long)_pool.BlockCount * _layout.BlockTokens);

    /// <summary>Forgets the events that were read.</summary>
    public void ClearEvents() => _events.Clear();

    /// <summary>Takes a request, all of which is done here, into the waiting queue, or says why not.</summary>
    /// <inheritdoc cref="Submit(GenerationRequest, TimeSpan, SequenceMode, CancellationToken)"/>
    public AdmissionResult Submit(
        GenerationRequest request, TimeSpan now, CancellationToken cancellation = default) =>
        Submit(request, now, SequenceMode.Whole, cancellation);

    /// <summary>Takes a request into the waiting queue, or says why not.</summary>
    /// <param name="request">
    /// The request. Its generated tokens are computed again as they were the first time and are not reported.
    /// </param>
    /// <param name="now">The time.</param>
    /// <param name="mode">Which part of the request is done here.</param>
    /// <param name="cancellation">
    /// Ends the sequence like <see cref="Cancel"/>, at the next step or during this one; set from any thread.
    /// </param>
    /// <exception cref="ArgumentException">
    /// The prompt is empty, no token may be generated, or more were generated than may be.
    /// </exception>
    public AdmissionResult Submit(
        GenerationRequest request, TimeSpan now, SequenceMode mode, CancellationToken cancellation)
    {
        ThrowUnlessValid(request);
        if (_draining)
        {
            _counters.RequestsRefusedDraining++;
            return new AdmissionResult(AdmissionReason.Draining, 0, 0, 0);
        }

        // The token that a prefill worker draws needs no place: it is computed by the decode worker.
        var output = mode == SequenceMode.PrefillOnly ? 0 : request.MaxNewTokens;
        var tokens = (long)request.PromptTokens.Count + output;
        if (tokens > SequenceTokensMax)
        {
            _counters.RequestsRefusedTooLong++;
            var asked = (int)Math.Min(int.MaxValue, tokens);
            return new AdmissionResult(AdmissionReason.TooLong, 0, asked, SequenceTokensMax);
        }

        var waiting = _waiting.Count - _preemptedWaiting;
        if (waiting >= _options.WaitingSequencesMax)
        {
            _counters.RequestsRefusedQueueFull++;
            return new AdmissionResult(AdmissionReason.QueueFull, 0, waiting, _options.WaitingSequencesMax);
        }

        var tenant = JoinTenant(request.Tenant);
        var root = BlockKeyChain.Root(_modelFingerprint, _layout, request.CacheSalt);
        var sequence = new Sequence(++_lastId, request, tenant, mode, root, _layout.BlockTokens, now, cancellation);
        LookForBlocks(sequence);
        _live.Add(sequence.Id, sequence);
        _waiting.Add(sequence);
        _counters.RequestsAccepted++;
        return new AdmissionResult(AdmissionReason.Accepted, sequence.Id, 0, 0);
    }

    /// <summary>
    /// Ends a sequence; its blocks are released at once, or, where something outside the engine is moving them, when
    /// that is done: a load, an import, an export. A sequence that has ended already is left alone.
    /// </summary>
    /// <param name="sequenceId">The sequence, as its admission named it.</param>
    public void Cancel(long sequenceId)
    {
        if (_live.TryGetValue(sequenceId, out var sequence))
        {
            Finish(sequence, FinishReason.Cancelled, null);
        }
    }

    /// <summary>
    /// Ends the settling that a step is computing right now, so that a request on its way need not wait for it; it is
    /// computed again when the engine is next idle. The one call that may come from any thread.
    /// </summary>
    public void InterruptSettling() => Volatile.Read(ref _settlingInterrupt).Cancel();

    /// <summary>
    /// Takes finished transfers, admits, plans and computes one step, and hands over blocks to be saved.
    /// </summary>
    /// <param name="now">The time.</param>
    public StepOutcome Step(TimeSpan now)
    {
        TakeTransfersDone();
        FinishCancelled();
        Admit(now);
        Plan();
        var computed = _plan.Count > 0;
        if (computed)
        {
            Compute();
            _plan.Clear();
        }

        _saves?.Flush();
        if (computed)
        {
            return StepOutcome.Worked;
        }

        return IsIdle ? StepOutcome.Idle : StepOutcome.WaitsForTransfers;
    }

    private static void ThrowUnlessValid(GenerationRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.PromptTokens.Count == 0)
        {
            throw new ArgumentException("the prompt has no tokens", nameof(request));
        }

        if (request.MaxNewTokens < 1)
        {
            throw new ArgumentException($"{request.MaxNewTokens} new tokens are not at least 1", nameof(request));
        }

        if (request.GeneratedTokens.Count > request.MaxNewTokens)
        {
            throw new ArgumentException(
                $"{request.GeneratedTokens.Count} generated tokens are more than the {request.MaxNewTokens} asked for",
                nameof(request));
        }
    }

    private int BlocksFor(int tokens) => (tokens + _layout.BlockTokens - 1) / _layout.BlockTokens;

    private static void InsertByArrival(List<Sequence> sequences, Sequence sequence)
    {
        var index = sequences.Count;
        while (index > 0 && sequences[index - 1].Id > sequence.Id)
        {
            index--;
        }

        sequences.Insert(index, sequence);
    }

    private sealed record Load(Sequence Sequence, int BlocksAsked);
}
