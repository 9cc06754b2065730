using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>How spans travel to a collector.</summary>
internal enum OtlpTransport
{
    /// <summary>OTLP over gRPC, which collectors take at port 4317.</summary>
    Grpc,

    /// <summary>OTLP over HTTP, which collectors take at port 4318, path /v1/traces.</summary>
    Http,
}

/// <summary>Where the spans of requests are sent.</summary>
internal sealed record TelemetryOptions
{
    /// <summary>Address of a collector; empty is off.</summary>
    [Setting("Collector that takes the spans of requests by OTLP, such as http://127.0.0.1:4317; empty is off.")]
    public string OtlpEndpoint { get; init; } = "";

    /// <summary>How they travel.</summary>
    [Setting("How spans travel to the collector; http wants the whole address, with /v1/traces.")]
    public OtlpTransport OtlpTransport { get; init; } = OtlpTransport.Grpc;

    /// <summary>Share of requests that are traced; one that came with a trace follows its sender's choice.</summary>
    [Setting("Share of requests that are traced; one that came with a trace follows its sender's choice.",
        Min = 0, Max = 1)]
    public double SampleRatio { get; init; } = 1;

    /// <summary>Spans that may wait to be sent; further ones are dropped.</summary>
    [Setting("Spans that may wait to be sent; further ones are dropped.", Unit = "spans", Min = 1, Max = 1_000_000)]
    public int SpansWaitingMax { get; init; } = 2048;

    /// <summary>Time between two sendings.</summary>
    [Setting("Time between two sendings of spans.", Unit = "ms", Min = 10, Max = 600_000)]
    public int SendIntervalMs { get; init; } = 5000;

    /// <summary>Longest time that one sending may take, at the end of the process too.</summary>
    [Setting("Longest time that one sending of spans may take, at the end of the process too.",
        Unit = "ms", Min = 10, Max = 600_000)]
    public int SendTimeoutMs { get; init; } = 3000;
}
