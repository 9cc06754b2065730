using System.Diagnostics;
using Grpc.Core;

namespace Kimi.Mooncake.Protocol;

/// <summary>
/// The trace of a request through all processes: the names of its spans, and how they hang together. Where nobody
/// listens there are no spans, which costs nothing; then the methods give null.
/// </summary>
public static class RequestTrace
{
    /// <summary>What a collector asks for to get the spans.</summary>
    public const string SourceName = "Kimi.Mooncake";

    /// <summary>Gateway: from the arrival of a request to the last byte of its answer.</summary>
    public const string Request = "request";

    /// <summary>Gateway: from the question for workers to the answer.</summary>
    public const string Route = "route";

    /// <summary>Decode worker: a whole generation.</summary>
    public const string Decode = "decode";

    /// <summary>Decode worker: from the order to prefill elsewhere until all of the KV is here.</summary>
    public const string Import = "import";

    /// <summary>Prefill worker: from the order until all of the KV is there.</summary>
    public const string Prefill = "prefill";

    /// <summary>Prefill worker: from the first frame of KV to the last acknowledgement.</summary>
    public const string HandOver = "hand-over";

    // The header of W3C trace context; gRPC carries it as metadata.
    private const string ParentHeader = "traceparent";
    private const string StateHeader = "tracestate";

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>The innermost span that is open where the caller runs; null where there is none.</summary>
    public static Activity? Current => Enclosing(Activity.Current);

    /// <summary>Starts a span inside the one that is current; it is current until it is disposed.</summary>
    /// <param name="name">One of the names above.</param>
    /// <param name="kind">Whether it waits for another process.</param>
    public static Activity? Begin(string name, ActivityKind kind = ActivityKind.Internal) =>
        Source.StartActivity(name, kind);

    /// <summary>Starts the span of a request that another process sent.</summary>
    /// <param name="name">One of the names above.</param>
    /// <param name="parent">The header traceparent; the span begins a trace where it is missing or malformed.</param>
    /// <param name="state">The header tracestate; may be missing.</param>
    public static Activity? Continue(string name, string? parent, string? state)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        // Otherwise what the server around us is doing, of which nobody is told, would be taken for the parent.
        var around = Activity.Current;
        Activity.Current = null;
        ActivityContext.TryParse(parent, state, isRemote: true, out var context);
        var span = Source.StartActivity(name, ActivityKind.Server, context);
        if (span is null)
        {
            Activity.Current = around;
        }

        return span;
    }

    /// <summary>Starts the span of a call that another process made.</summary>
    /// <param name="name">One of the names above.</param>
    /// <param name="call">The call.</param>
    public static Activity? Continue(string name, ServerCallContext call)
    {
        ArgumentNullException.ThrowIfNull(call);
        return Source.HasListeners()
            ? Continue(name, call.RequestHeaders.GetValue(ParentHeader), call.RequestHeaders.GetValue(StateHeader))
            : null;
    }

    /// <summary>Adds a span inside the current one, of something that has just ended.</summary>
    /// <param name="name">One of the names above.</param>
    /// <param name="duration">How long it took.</param>
    /// <param name="tags">What is known of it.</param>
    public static void Add(string name, TimeSpan duration, params ReadOnlySpan<(string Name, object Value)> tags)
    {
        using var span = Source.StartActivity(name);
        span?.SetStartTime(span.StartTimeUtc - duration);
        foreach (var (tag, value) in tags)
        {
            span?.SetTag(tag, value);
        }
    }

    /// <summary>Marks a span as failed; a request that was given up has not failed.</summary>
    /// <param name="span">The span; null is none.</param>
    /// <param name="fault">Why.</param>
    public static void Fail(Activity? span, Exception fault)
    {
        ArgumentNullException.ThrowIfNull(fault);
        if (fault is OperationCanceledException)
        {
            span?.SetTag("cancelled", true);
            return;
        }

        span?.SetStatus(ActivityStatusCode.Error, fault.Message);
    }

    /// <summary>The innermost span of a request around an activity, which another library may have made.</summary>
    /// <param name="activity">The activity; null is none.</param>
    public static Activity? Enclosing(Activity? activity)
    {
        while (activity is not null && activity.Source.Name != SourceName)
        {
            activity = activity.Parent;
        }

        return activity;
    }
}
