using System.Diagnostics.Tracing;
using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// Logs what the library that sends spans reports: it tells nobody but event listeners. A collector that is away would
/// be reported with every sending; once in a while is enough.
/// </summary>
internal sealed class TelemetryFaults : EventListener
{
    private const string SourcePrefix = "OpenTelemetry";
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private readonly TimeProvider _time;

    // The base class reports events from within its constructor, before this is set.
    private readonly ILogger? _logger;
    private long? _last;

    public TelemetryFaults(ILogger logger, TimeProvider time)
    {
        _time = time;
        _logger = logger;
    }

    protected override void OnEventSourceCreated(EventSource eventSource)
    {
        if (eventSource.Name.StartsWith(SourcePrefix, StringComparison.Ordinal))
        {
            EnableEvents(eventSource, EventLevel.Warning);
        }
    }

    protected override void OnEventWritten(EventWrittenEventArgs eventData)
    {
        if (_logger is not { } logger || !IsDue())
        {
            return;
        }

        var payload = eventData.Payload?.ToArray() ?? [];
        ServingLog.TracingFailed(logger, eventData.Message is { Length: > 0 } message
            ? string.Format(CultureInfo.InvariantCulture, message, payload)
            : $"{eventData.EventName} {string.Join(", ", payload)}");
    }

    private bool IsDue()
    {
        lock (_lock)
        {
            var now = _time.GetTimestamp();
            if (_last is { } last && _time.GetElapsedTime(last, now) < Interval)
            {
                return false;
            }

            _last = now;
            return true;
        }
    }
}
