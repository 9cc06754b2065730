using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// A fixed amount of memory for blocks on their way between store and wire. Nobody waits for it but the one who holds
/// none of it, so that two can never wait for each other. Any thread may call.
/// </summary>
internal sealed class StagingBlocks : IDisposable
{
    private readonly PagedKvMemory _memory;
    private readonly Lock _gate = new();
    private readonly Stack<int> _free;
    private TaskCompletionSource _given = NewSignal();

    /// <param name="layout">Layout of the blocks.</param>
    /// <param name="bytesMax">Memory; at least one block is there whatever this says.</param>
    public StagingBlocks(KvLayout layout, long bytesMax)
    {
        var blocks = (int)Math.Clamp(bytesMax / layout.BytesPerBlock, 1, int.MaxValue);
        _memory = new PagedKvMemory(layout, blocks);
        _free = new Stack<int>(Enumerable.Range(0, blocks).Reverse());
    }

    public int FreeCount
    {
        get
        {
            lock (_gate)
            {
                return _free.Count;
            }
        }
    }

    public int BlockCount => _memory.BlockCount;

    public Span<byte> this[int slot] => _memory.Block(slot);

    public nint AddressOf(int slot) => _memory.Address(slot, 0, 0);

    /// <summary>Takes up to <paramref name="count"/> slots; none when none is free.</summary>
    public int[] Take(int count)
    {
        lock (_gate)
        {
            var slots = new int[Math.Min(count, _free.Count)];
            for (var i = 0; i < slots.Length; i++)
            {
                slots[i] = _free.Pop();
            }

            return slots;
        }
    }

    /// <summary>Takes at least one slot, when there is one. The caller holds no other.</summary>
    public async ValueTask<int[]> TakeAsync(int count, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task given;
            lock (_gate)
            {
                if (_free.Count > 0)
                {
                    return Take(count);
                }

                given = _given.Task;
            }

            await given.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public void Give(ReadOnlySpan<int> slots)
    {
        TaskCompletionSource given;
        lock (_gate)
        {
            foreach (var slot in slots)
            {
                _free.Push(slot);
            }

            given = _given;
            _given = NewSignal();
        }

        given.SetResult();
    }

    /// <summary>Frees the memory; nothing may be taken.</summary>
    public void Dispose() => _memory.Dispose();

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
