namespace Kimi.Mooncake.Engine;

/// <content>What there is to do, and whether everything is accounted for.</content>
public sealed partial class EngineCore
{
    /// <summary>Whether <see cref="BeginDrain"/> was called and everything taken before has been finished.</summary>
    public bool IsDrained => _draining && IsIdle && _peerHeldCount == 0;

    private bool IsIdle =>
        _live.Count == 0
        && _loads.Count == 0
        && _imports.Count == 0
        && _exports.Count == 0
        && _swapOuts.Count == 0
        && _swapIns.Count == 0
        && _settling.Count == 0
        && _saves is null or { WaitingCount: 0, SavingCount: 0 };

    /// <summary>Takes no more requests; what was taken before is finished, settled and saved.</summary>
    public void BeginDrain() => _draining = true;

    /// <summary>Load and counters now.</summary>
    public EngineStatus Status()
    {
        var counters = _counters;
        counters.BlocksEvicted = _pool.EvictedCount;
        counters.BlocksSaved = _saves?.Saved ?? 0;
        counters.BlocksSaveFailed = _saves?.Failed ?? 0;
        counters.BlocksSaveDropped = _saves?.Dropped ?? 0;
        return new EngineStatus
        {
            Waiting = _waiting.Count,
            Loading = _loads.Count,
            Importing = _imports.Count,
            Exporting = _exports.Count,
            Swapping = _swapOuts.Count + _swapIns.Count,
            Running = _running.Count,
            Settling = _settling.Count,
            QueuedPrefillTokens = QueuedPrefillTokens(),
            Draining = _draining,
            SavesPendingBlocks = _saves?.WaitingCount ?? 0,
            SavingBlocks = _saves?.SavingCount ?? 0,
            BlocksTotal = _pool.BlockCount,
            BlocksFree = _pool.FreeCount,
            BlocksCached = _pool.CachedCount,
            BlocksHeld = _pool.HeldCount,
            Counters = counters,
        };
    }

    /// <summary>Verifies the pool and that every hold has its owner, in time linear in the pool.</summary>
    /// <exception cref="InvalidOperationException">Something is lost, leaked or out of order.</exception>
    public void CheckIntegrity()
    {
        _pool.Check();
        CheckHolds();
        for (var i = 1; i < _running.Count; i++)
        {
            if (_running[i - 1].Id >= _running[i].Id)
            {
                throw new InvalidOperationException($"sequence {_running[i].Id} runs out of order");
            }
        }

        foreach (var (key, maker) in _inFlight)
        {
            if (maker.State is not (SequenceState.Prefill or SequenceState.Loading or SequenceState.Importing))
            {
                throw new InvalidOperationException($"sequence {maker.Id} makes {key} while {maker.State}");
            }
        }

        var loading = _loads.Values.Count(static load => !load.Sequence.Cancelled);
        var importing = _imports.Values.Count(static sequence => !sequence.Cancelled);
        var swapping = _swapIns.Values.Count(static sequence => !sequence.Cancelled);
        if (_live.Count != _waiting.Count + _running.Count + loading + importing + swapping)
        {
            throw new InvalidOperationException(
                $"{_live.Count} live sequences, but {_waiting.Count} wait, {_running.Count} run, {loading} load, "
                + $"{importing} are imported and {swapping} swapped in");
        }
    }

    private void CheckHolds()
    {
        var holds = _peerHolds.ToArray();
        _saves?.AddHolds(holds);
        foreach (var swap in _swapOuts.Values)
        {
            AddHolds(swap.BlockIds, holds);
        }

        var holders = _running.Concat(_settling).Concat(_imports.Values).Concat(_exports.Values).Concat(_swapIns.Values)
            .Concat(_loads.Values.Select(static load => load.Sequence));
        foreach (var sequence in holders)
        {
            AddHolds(sequence.Blocks.BlockIds, holds);
            AddHolds(sequence.Replaced.BlockIds, holds);
        }

        for (var id = 0; id < holds.Length; id++)
        {
            if (_pool.HoldsOf(id) != holds[id])
            {
                throw new InvalidOperationException(
                    $"block {id} is held {_pool.HoldsOf(id)} times but has {holds[id]} owners");
            }
        }
    }

    private static void AddHolds(ReadOnlySpan<int> blockIds, int[] holds)
    {
        foreach (var blockId in blockIds)
        {
            holds[blockId]++;
        }
    }

    private long QueuedPrefillTokens()
    {
        var tokens = 0L;
        foreach (var sequence in _waiting)
        {
            if (!sequence.WantsImport)
            {
                tokens += sequence.PromptLength - (sequence.ExpectedBlocks * _layout.BlockTokens);
            }
        }

        foreach (var load in _loads.Values)
        {
            tokens += load.Sequence.PromptLength - (ReusableBlocks(load.Sequence) * _layout.BlockTokens);
        }

        foreach (var sequence in _running)
        {
            tokens += Math.Max(0, sequence.PromptLength - sequence.ComputedTokens);
        }

        return tokens;
    }
}
