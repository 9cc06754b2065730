namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Sessions of one priority that have frames to send, in turn. Linked through the sessions themselves.
/// </summary>
internal sealed class SessionQueue
{
    private TransferSession? _first;
    private TransferSession? _last;

    public TransferSession? First => _first;

    public void Add(TransferSession session)
    {
        if (session.IsQueued)
        {
            return;
        }

        session.IsQueued = true;
        session.NextInQueue = null;
        if (_last is null)
        {
            _first = session;
        }
        else
        {
            _last.NextInQueue = session;
        }

        _last = session;
    }

    public void RemoveFirst()
    {
        var removed = _first!;
        _first = removed.NextInQueue;
        _last = _first is null ? null : _last;
        removed.NextInQueue = null;
        removed.IsQueued = false;
    }
}
