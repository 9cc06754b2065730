using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// A store in memory whose transfers end when the test says so. With a random source it also delays, refuses, loses and
/// delivers less than it promised.
/// </summary>
internal sealed class SimulatedStore(SimulatedModel model, Random? faults = null) : IKvConnector
{
    private readonly List<Transfer> _begun = [];
    private readonly Queue<KvTransferDone> _done = [];
    private readonly Dictionary<long, ulong[][]> _swaps = [];
    private long _ticket = 100;

    public Dictionary<BlockKey, ulong[]> Blocks { get; init; } = [];

    public bool Refuses { get; set; }

    /// <summary>Whether transfers stay under way until <see cref="Complete"/>.</summary>
    public bool Holds { get; set; }

    /// <summary>Of each load, at most this many blocks arrive.</summary>
    public int LoadBlocksMax { get; set; } = int.MaxValue;

    public bool CanSave { get; set; } = true;

    public bool CanSwap { get; set; } = true;

    /// <summary>Of each swap, at most this many blocks are moved.</summary>
    public int SwapBlocksMax { get; set; } = int.MaxValue;

    /// <summary>Sequences of which something is put aside.</summary>
    public int SwapCount => _swaps.Count;

    public int UnderWay => _begun.Count;

    public List<int> SaveSizes { get; } = [];

    /// <summary>What came with each block that was saved or is being saved.</summary>
    public Dictionary<BlockKey, BlockAttributes> Attributes { get; } = [];

    /// <summary>Key of the first block of the placement group of each block that a save was begun of.</summary>
    public Dictionary<BlockKey, BlockKey> Groups { get; } = [];

    /// <summary>What was asked for blocks that are stored already.</summary>
    public List<(BlockKey Key, BlockRetention Retention, BlockClass Class)> Retained { get; } = [];

    public List<BlockKey> Touched { get; } = [];

    public int CountStored(ReadOnlySpan<BlockKey> keys)
    {
        var count = 0;
        while (count < keys.Length && Blocks.ContainsKey(keys[count]))
        {
            count++;
        }

        return count;
    }

    public long BeginLoad(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<int> blockIds) =>
        Begin(new Transfer(Move.Load, keys.ToArray(), blockIds.ToArray()));

    public long BeginSave(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<BlockKey> groupKeys,
        ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes)
    {
        Assert.That(groupKeys.Length, Is.EqualTo(keys.Length));
        Assert.That(attributes.Length, Is.EqualTo(keys.Length));
        Assert.That(parentKeys.Length, Is.EqualTo(keys.Length));
        for (var i = 1; i < keys.Length; i++)
        {
            Assert.That(parentKeys[i], Is.EqualTo(keys[i - 1]), "a save is one run of a prefix");
        }

        var ticket = Begin(new Transfer(Move.Save, keys.ToArray(), blockIds.ToArray()));
        if (ticket >= 0)
        {
            SaveSizes.Add(keys.Length);
            for (var i = 0; i < keys.Length; i++)
            {
                Attributes[keys[i]] = attributes[i];
                Groups[keys[i]] = groupKeys[i];
            }
        }

        return ticket;
    }

    public void Retain(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> groupKeys, in BlockRetention retention,
        BlockClass blockClass)
    {
        Assert.That(groupKeys.Length, Is.EqualTo(keys.Length));
        foreach (var key in keys)
        {
            Retained.Add((key, retention, blockClass));
        }
    }

    public void Touch(ReadOnlySpan<BlockKey> keys) => Touched.AddRange(keys);

    public long BeginSwapOut(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        Assert.That(CanSwap, Is.True);
        Assert.That(_swaps.ContainsKey(sequenceId), Is.False, "a sequence is swapped out twice");
        return Begin(new Transfer(Move.SwapOut, [], blockIds.ToArray()) { SequenceId = sequenceId });
    }

    public long BeginSwapIn(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        Assert.That(_swaps[sequenceId], Has.Length.EqualTo(blockIds.Length));
        return Begin(new Transfer(Move.SwapIn, [], blockIds.ToArray()) { SequenceId = sequenceId });
    }

    public void DropSwap(long sequenceId)
    {
        Assert.That(_begun.Where(t => t.SequenceId == sequenceId), Is.Empty, "a swap is dropped while it moves");
        Assert.That(_swaps.Remove(sequenceId), Is.True, "nothing was put aside");
    }

    public bool TryTakeDone(out KvTransferDone done)
    {
        if (!Holds && (faults is null || faults.Next(3) > 0))
        {
            Complete();
        }

        return _done.TryDequeue(out done);
    }

    /// <summary>Ends one transfer: the oldest, or with faults any.</summary>
    public bool Complete()
    {
        if (_begun.Count == 0)
        {
            return false;
        }

        var index = faults?.Next(_begun.Count) ?? 0;
        var transfer = _begun[index];
        _begun.RemoveAt(index);
        var done = transfer.Move switch
        {
            Move.Load => Load(transfer),
            Move.Save => Save(transfer),
            Move.SwapOut => SwapOut(transfer),
            _ => SwapIn(transfer),
        };
        _done.Enqueue(new KvTransferDone(transfer.Ticket, done));
        return true;
    }

    /// <summary>Forgets a stored block, as a full disk would.</summary>
    public void Lose(BlockKey key) => Blocks.Remove(key);

    private long Begin(Transfer transfer)
    {
        if (Refuses || faults?.Next(5) == 0)
        {
            return -1;
        }

        transfer.Before = transfer.BlockIds.Select(id => model.Block(id).ToArray()).ToArray();
        _begun.Add(transfer with { Ticket = ++_ticket });
        return _ticket;
    }

    private int Load(Transfer transfer)
    {
        var done = 0;
        var max = faults?.Next(4) == 0 ? faults.Next(transfer.Keys.Length) : LoadBlocksMax;
        for (var i = 0; i < transfer.Keys.Length; i++)
        {
            var before = model.Block(transfer.BlockIds[i]).ToArray();
            Assert.That(before, Is.EqualTo(transfer.Before[i]), "a block was written while it was loaded");
            if (done == i && i < max && Blocks.TryGetValue(transfer.Keys[i], out var values))
            {
                values.CopyTo(model.Block(transfer.BlockIds[i]));
                done++;
            }
            else
            {
                // What a torn transfer leaves behind.
                model.Block(transfer.BlockIds[i]).Fill(0xdead);
            }
        }

        return done;
    }

    private int Save(Transfer transfer)
    {
        var done = faults?.Next(6) == 0 ? faults.Next(transfer.Keys.Length) : transfer.Keys.Length;
        for (var i = 0; i < transfer.Keys.Length; i++)
        {
            var values = model.Block(transfer.BlockIds[i]).ToArray();
            Assert.That(values, Is.EqualTo(transfer.Before[i]), "a block was written while it was saved");
            if (i < done)
            {
                if (Blocks.TryGetValue(transfer.Keys[i], out var stored))
                {
                    Assert.That(values, Is.EqualTo(stored), "one key, two contents");
                }

                Blocks[transfer.Keys[i]] = values;
            }
        }

        return done;
    }

    private int SwapOut(Transfer transfer)
    {
        var values = transfer.BlockIds.Select(id => model.Block(id).ToArray()).ToArray();
        Assert.That(values, Is.EqualTo(transfer.Before), "a block was written while it was swapped out");
        _swaps.Add(transfer.SequenceId, values);
        return SwapBlocks(values.Length);
    }

    private int SwapIn(Transfer transfer)
    {
        var values = _swaps[transfer.SequenceId];
        var done = SwapBlocks(values.Length);
        for (var i = 0; i < values.Length; i++)
        {
            var block = model.Block(transfer.BlockIds[i]);
            Assert.That(block.ToArray(), Is.EqualTo(transfer.Before[i]), "a block was written while it was swapped in");
            if (i < done)
            {
                values[i].CopyTo(block);
            }
            else
            {
                block.Fill(0xdead);
            }
        }

        return done;
    }

    private int SwapBlocks(int count) =>
        faults?.Next(5) == 0 ? faults.Next(count) : Math.Min(count, SwapBlocksMax);

    private enum Move
    {
        Load,
        Save,
        SwapOut,
        SwapIn,
    }

    private sealed record Transfer(Move Move, BlockKey[] Keys, int[] BlockIds)
    {
        public long SequenceId { get; init; }

        public long Ticket { get; init; }

        public ulong[][] Before { get; set; } = [];
    }
}
