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
    private long _ticket = 100;

    public Dictionary<BlockKey, ulong[]> Blocks { get; init; } = [];

    public bool Refuses { get; set; }

    /// <summary>Whether transfers stay under way until <see cref="Complete"/>.</summary>
    public bool Holds { get; set; }

    /// <summary>Of each load, at most this many blocks arrive.</summary>
    public int LoadBlocksMax { get; set; } = int.MaxValue;

    public int UnderWay => _begun.Count;

    public List<int> SaveSizes { get; } = [];

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
        Begin(new Transfer(keys.ToArray(), blockIds.ToArray(), IsLoad: true));

    public long BeginSave(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<int> blockIds)
    {
        Assert.That(parentKeys.Length, Is.EqualTo(keys.Length));
        for (var i = 1; i < keys.Length; i++)
        {
            Assert.That(parentKeys[i], Is.EqualTo(keys[i - 1]), "a save is one run of a prefix");
        }

        var ticket = Begin(new Transfer(keys.ToArray(), blockIds.ToArray(), IsLoad: false));
        if (ticket >= 0)
        {
            SaveSizes.Add(keys.Length);
        }

        return ticket;
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
        _done.Enqueue(new KvTransferDone(transfer.Ticket, transfer.IsLoad ? Load(transfer) : Save(transfer)));
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

    private sealed record Transfer(BlockKey[] Keys, int[] BlockIds, bool IsLoad)
    {
        public long Ticket { get; init; }

        public ulong[][] Before { get; set; } = [];
    }
}
