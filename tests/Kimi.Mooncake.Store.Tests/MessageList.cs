using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>Keeps what is logged.</summary>
internal sealed class MessageList : ILogger
{
    public ConcurrentQueue<string> All { get; } = new();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter) => All.Enqueue(formatter(state, exception));
}
