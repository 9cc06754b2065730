using System.Numerics;
using System.Security.Cryptography;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// One transfer: pieces of this process's memory on their way into a reservation of another one. Made by
/// <see cref="TransferEngine.BeginAsync"/>.
/// </summary>
public sealed class TransferSession : IAsyncDisposable
{
    /// <summary>Frames that one region may be cut into.</summary>
    internal const int PartsMax = 64;

    private readonly PeerLink _peer;
    private readonly Region[] _regions;
    private readonly uint _transfer = BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(sizeof(uint)));
    private readonly int _frameBytes;
    private readonly int _corruptRetriesMax;

    // All of this is guarded by the peer's gate.
    private int _count;
    private int _firstWaiting;
    private uint _sequences;
    private long _pending;
    private int _readers;
    private bool _isClosed;
    private long _bytesAcknowledged;
    private TransferException? _failure;
    private TaskCompletionSource? _flushed;
    private TaskCompletionSource? _unread;

    internal TransferSession(
        PeerLink peer, ReservationId target, TransferPriority priority, int framesMax, TransferOptions options)
    {
        _peer = peer;
        _regions = new Region[framesMax];
        _frameBytes = options.FrameBytes;
        _corruptRetriesMax = options.CorruptRetriesMax;
        Target = target;
        Priority = priority;
    }

    /// <summary>Where the frames go.</summary>
    public ReservationId Target { get; }

    /// <summary>What they are for.</summary>
    public TransferPriority Priority { get; }

    /// <summary>Payload that the receiver has acknowledged as written.</summary>
    public long BytesAcknowledged => Interlocked.Read(ref _bytesAcknowledged);

    /// <summary>Links the sessions that wait for their turn.</summary>
    internal TransferSession? NextInQueue { get; set; }

    internal bool IsQueued { get; set; }

    internal bool HasPending => _pending > 0;

    /// <summary>When the oldest of what is pending was enqueued or something was acknowledged; peer's gate.</summary>
    internal long ProgressTimestamp { get; private set; }

    private bool IsOver => _isClosed || _failure is not null;

    /// <summary>
    /// Takes memory to send. From any thread; never blocks and never allocates. The memory is read until
    /// <see cref="FlushAsync"/> or <see cref="DisposeAsync"/> has ended, and must not change until then.
    /// </summary>
    /// <param name="source">First byte.</param>
    /// <param name="bytes">Length, at least 1; beyond <c>transfer.frame_bytes</c> it travels as several frames.</param>
    /// <param name="slot">Slot of the reservation.</param>
    /// <param name="offset">Offset in the slot, in bytes.</param>
    /// <returns>False once the session has failed or is closed, or after <c>framesMax</c> calls.</returns>
    /// <exception cref="ArgumentOutOfRangeException">
    /// A number is negative, or the length is 0 or more than 64 frames can carry.
    /// </exception>
    public bool TryEnqueue(nint source, int bytes, int slot, int offset)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        ArgumentOutOfRangeException.ThrowIfNegative(slot);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes, (long)_frameBytes * PartsMax);
        var parts = (bytes + _frameBytes - 1) / _frameBytes;
        lock (_peer.Gate)
        {
            if (IsOver || _count == _regions.Length)
            {
                return false;
            }

            if (_pending == 0)
            {
                ProgressTimestamp = _peer.Timestamp();
            }

            _regions[_count++] = new Region(source, bytes, (uint)slot, (uint)offset, _sequences)
            {
                Waiting = ulong.MaxValue >> (PartsMax - parts),
            };
            _sequences += (uint)parts;
            _pending += parts;
            _peer.Queue(this);
        }

        _peer.WakeLanes();
        return true;
    }

    /// <summary>Ends when everything that was enqueued before is acknowledged as written.</summary>
    /// <param name="cancellationToken">Gives up waiting; the session goes on.</param>
    /// <exception cref="TransferException">The session failed; the reason says why.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled first.</exception>
    public Task FlushAsync(CancellationToken cancellationToken)
    {
        lock (_peer.Gate)
        {
            if (_failure is not null)
            {
                return Task.FromException(_failure);
            }

            ObjectDisposedException.ThrowIf(_isClosed, this);
            if (_pending == 0)
            {
                return Task.CompletedTask;
            }

            _flushed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _flushed.Task.WaitAsync(cancellationToken);
        }
    }

    /// <summary>
    /// Ends the session; what is not acknowledged is given up. Nothing reads source memory afterwards.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        Task unread;
        lock (_peer.Gate)
        {
            if (!_isClosed)
            {
                _isClosed = true;
                _peer.Forget(this);
                FailFlush(new TransferException(
                    TransferFailure.Cancelled, $"the transfer to {_peer.Address} was given up"));
            }

            if (_readers == 0)
            {
                return ValueTask.CompletedTask;
            }

            _unread ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            unread = _unread.Task;
        }

        return new ValueTask(unread);
    }

    /// <summary>Looks at the frame to send next; peer's gate.</summary>
    internal bool TryPeek(out FrameHeader header, out nint source, out int region, out int part)
    {
        header = default;
        source = 0;
        part = 0;
        while (!IsOver && _firstWaiting < _count && _regions[_firstWaiting].Waiting == 0)
        {
            _firstWaiting++;
        }

        region = _firstWaiting;
        if (IsOver || region == _count)
        {
            return false;
        }

        ref readonly var found = ref _regions[region];
        part = BitOperations.TrailingZeroCount(found.Waiting);
        var start = part * _frameBytes;
        header = new FrameHeader(
            Target, _transfer, found.FirstSequence + (uint)part, found.Slot, found.Offset + (uint)start, Checksum: 0,
            Math.Min(_frameBytes, found.Bytes - start));
        source = found.Source + start;
        return true;
    }

    /// <summary>Takes the frame that was looked at; its source counts as read until <see cref="EndRead"/>.</summary>
    internal void Take(int region, int part)
    {
        ref var taken = ref _regions[region];
        taken.Waiting &= ~(1UL << part);
        taken.InFlight |= 1UL << part;
        _readers++;
    }

    internal void EndRead()
    {
        lock (_peer.Gate)
        {
            if (--_readers == 0)
            {
                _unread?.TrySetResult();
            }
        }
    }

    /// <summary>Takes the answer to a frame; peer's gate.</summary>
    /// <returns>Whether the frame waits again.</returns>
    internal bool Complete(int region, int part, FrameOutcome outcome, int bytes)
    {
        ref var answered = ref _regions[region];
        var mark = 1UL << part;
        if (IsOver || (answered.InFlight & mark) == 0)
        {
            return false;
        }

        answered.InFlight &= ~mark;
        switch (outcome)
        {
            case FrameOutcome.Written:
                _bytesAcknowledged += bytes;
                ProgressTimestamp = _peer.Timestamp();
                if (--_pending == 0)
                {
                    _flushed?.TrySetResult();
                    _flushed = null;
                }

                return false;
            case FrameOutcome.Corrupt when answered.Retries < _corruptRetriesMax:
                answered.Retries++;
                WaitAgain(region, mark);
                return true;
            case FrameOutcome.Corrupt:
                Fail(TransferFailure.Corrupt, $"a frame arrived damaged {answered.Retries + 1} times");
                return false;
            case FrameOutcome.Stale:
                Fail(TransferFailure.Stale, $"reservation {Target} is closed");
                return false;
            default:
                Fail(
                    TransferFailure.OutOfRange,
                    $"slot {answered.Slot}, offset {answered.Offset}, {answered.Bytes} bytes lie outside of {Target}");
                return false;
        }
    }

    /// <summary>Puts back a frame whose connection was lost; peer's gate.</summary>
    /// <returns>Whether it waits again.</returns>
    internal bool PutBack(int region, int part)
    {
        var mark = 1UL << part;
        if (IsOver || (_regions[region].InFlight & mark) == 0)
        {
            return false;
        }

        _regions[region].InFlight &= ~mark;
        WaitAgain(region, mark);
        return true;
    }

    /// <summary>Ends the session; peer's gate.</summary>
    internal void Fail(TransferFailure reason, string what, Exception? inner = null)
    {
        if (IsOver)
        {
            return;
        }

        _failure = new TransferException(reason, $"the transfer to {_peer.Address} failed: {what}", inner);
        _peer.SessionFailed(_failure);
        FailFlush(_failure);
    }

    private void FailFlush(TransferException failure)
    {
        _flushed?.TrySetException(failure);
        _flushed = null;
    }

    private void WaitAgain(int region, ulong mark)
    {
        _regions[region].Waiting |= mark;
        _firstWaiting = Math.Min(_firstWaiting, region);
    }

    private struct Region(nint source, int bytes, uint slot, uint offset, uint firstSequence)
    {
        public readonly nint Source = source;
        public readonly int Bytes = bytes;
        public readonly uint Slot = slot;
        public readonly uint Offset = offset;
        public readonly uint FirstSequence = firstSequence;

        // Bit i is part i.
        public ulong Waiting;
        public ulong InFlight;
        public int Retries;
    }
}
