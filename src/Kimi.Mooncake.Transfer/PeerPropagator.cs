using System.Diagnostics;
using Kimi.Mooncake.Protocol;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Tells the called process of the span that makes a call. The libraries below put activities of their own around it,
/// of which no collector is told: a child of theirs would have lost its parent.
/// </summary>
internal sealed class PeerPropagator : DistributedContextPropagator
{
    public static readonly PeerPropagator Instance = new();

    private readonly DistributedContextPropagator _headers = CreateDefaultPropagator();

    public override IReadOnlyCollection<string> Fields => _headers.Fields;

    public override void Inject(Activity? activity, object? carrier, PropagatorSetterCallback? setter)
    {
        if (RequestTrace.Enclosing(activity) is { } span)
        {
            _headers.Inject(span, carrier, setter);
        }
    }

    public override void ExtractTraceIdAndState(
        object? carrier, PropagatorGetterCallback? getter, out string? traceId, out string? traceState) =>
        _headers.ExtractTraceIdAndState(carrier, getter, out traceId, out traceState);

    public override IEnumerable<KeyValuePair<string, string?>>? ExtractBaggage(
        object? carrier, PropagatorGetterCallback? getter) => _headers.ExtractBaggage(carrier, getter);
}
