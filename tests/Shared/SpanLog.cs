using System.Collections.Concurrent;
using System.Diagnostics;

namespace Kimi.Mooncake.Tests;

/// <summary>Keeps the spans of one source that end while it is there.</summary>
internal sealed class SpanLog : IDisposable
{
    private readonly ConcurrentQueue<Activity> _ended = [];
    private readonly ActivityListener _listener;

    public SpanLog(string source)
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = listened => listened.Name == source,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    /// <summary>Waits until as many spans of a trace have ended, and gives them by their names.</summary>
    public async Task<ILookup<string, Activity>> UntilAsync(string traceId, int count)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (true)
        {
            var spans = _ended.Where(span => $"{span.TraceId}" == traceId).ToList();
            if (spans.Count >= count)
            {
                return spans.ToLookup(span => span.OperationName);
            }

            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    public void Dispose() => _listener.Dispose();
}
