using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// One direction of the connector: a bounded queue of transfers and the threads that work on it, block by block, so
/// that all of them share a long transfer. Transfers begin in the order in which they came.
/// </summary>
internal sealed class StoreConnectorLane : IDisposable
{
    private readonly Func<MovingBlock, bool> _move;
    private readonly Action<StoreConnectorLane, long, int> _finished;
    private readonly int _transfersMax;
    private readonly Lock _gate = new();
    private readonly Queue<Transfer> _waiting = new();
    private readonly Stack<Transfer> _spare = new();
    // One permit for each block that no thread has taken yet; at the end, one for each thread.
    private readonly SemaphoreSlim _blocks = new(0);
    private readonly Thread[] _threads;
    private int _outstanding;
    private bool _closed;

    /// <param name="name">Name of the threads.</param>
    /// <param name="threads">Number of threads.</param>
    /// <param name="transfersMax">Most transfers begun and not yet released.</param>
    /// <param name="move">Moves one block; false when it could not.</param>
    /// <param name="finished">
    /// Told of the ticket and the leading blocks that were moved, on a thread of the lane.
    /// </param>
    public StoreConnectorLane(
        string name, int threads, int transfersMax, Func<MovingBlock, bool> move,
        Action<StoreConnectorLane, long, int> finished)
    {
        _move = move;
        _finished = finished;
        _transfersMax = transfersMax;
        _threads = new Thread[threads];
        for (var i = 0; i < threads; i++)
        {
            _threads[i] = new Thread(Run) { IsBackground = true, Name = $"{name} {i}" };
            _threads[i].Start();
        }
    }

    /// <summary>
    /// Queues a transfer of at least one block, with parents and attributes for each or for none; false when the lane
    /// is full or closed.
    /// </summary>
    public bool TryBegin(
        long ticket, ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parents, ReadOnlySpan<int> blockIds,
        ReadOnlySpan<BlockAttributes> attributes)
    {
        lock (_gate)
        {
            if (_closed || _outstanding == _transfersMax)
            {
                return false;
            }

            _outstanding++;
            if (!_spare.TryPop(out var transfer))
            {
                transfer = new Transfer();
            }

            transfer.Begin(ticket, keys, parents, blockIds, attributes);
            _waiting.Enqueue(transfer);
        }

        _blocks.Release(keys.Length);
        return true;
    }

    /// <summary>Makes room for another transfer once a finished one has been taken.</summary>
    public void Release()
    {
        lock (_gate)
        {
            _outstanding--;
        }
    }

    /// <summary>Takes no more, finishes what was begun and ends the threads.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }

            _closed = true;
        }

        _blocks.Release(_threads.Length);
        foreach (var thread in _threads)
        {
            thread.Join();
        }

        _blocks.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            _blocks.Wait();
            if (Take(out var index) is not { } transfer)
            {
                return;
            }

            // After a gap the engine can use nothing, so that the rest is not worth moving.
            var moved = index < transfer.Leading && _move(transfer[index]);
            Complete(transfer, index, moved);
        }
    }

    private Transfer? Take(out int index)
    {
        lock (_gate)
        {
            if (!_waiting.TryPeek(out var transfer))
            {
                index = 0;
                return null;
            }

            index = transfer.Taken++;
            if (transfer.Taken == transfer.Count)
            {
                _waiting.Dequeue();
            }

            return transfer;
        }
    }

    private void Complete(Transfer transfer, int index, bool moved)
    {
        long ticket;
        int leading;
        lock (_gate)
        {
            transfer.Leading = moved ? transfer.Leading : Math.Min(transfer.Leading, index);
            if (++transfer.Completed < transfer.Count)
            {
                return;
            }

            ticket = transfer.Ticket;
            leading = transfer.Leading;
            _spare.Push(transfer);
        }

        _finished(this, ticket, leading);
    }

    /// <summary>One begun transfer; the objects and their arrays are used again.</summary>
    private sealed class Transfer
    {
        private MovingBlock[] _blocks = [];
        private volatile int _leading;

        public long Ticket { get; private set; }

        public int Count { get; private set; }

        public int Taken { get; set; }

        public int Completed { get; set; }

        /// <summary>Blocks before the first that could not be moved.</summary>
        public int Leading
        {
            get => _leading;
            set => _leading = value;
        }

        public MovingBlock this[int index] => _blocks[index];

        public void Begin(
            long ticket, ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parents, ReadOnlySpan<int> blockIds,
            ReadOnlySpan<BlockAttributes> attributes)
        {
            if (_blocks.Length < keys.Length)
            {
                _blocks = new MovingBlock[keys.Length];
            }

            Ticket = ticket;
            Count = keys.Length;
            Taken = 0;
            Completed = 0;
            Leading = keys.Length;
            for (var i = 0; i < keys.Length; i++)
            {
                _blocks[i] = new MovingBlock(
                    keys[i],
                    parents.IsEmpty ? default : parents[i],
                    blockIds[i],
                    attributes.IsEmpty ? BlockAttributes.Default : attributes[i]);
            }
        }
    }
}
