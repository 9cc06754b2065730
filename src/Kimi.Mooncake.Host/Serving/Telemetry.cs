using System.Diagnostics;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Protocol;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>Sends spans of requests to a collector, where the operator named one. Disposing sends the rest.</summary>
internal sealed class Telemetry : IDisposable
{
    private const string ServiceName = "kimi-mooncake";

    // Small enough for the message limit of any collector.
    private const int SpansPerMessage = 512;

    private readonly TracerProvider? _spans;
    private readonly TelemetryFaults? _faults;

    private Telemetry(TracerProvider? spans, TelemetryFaults? faults)
    {
        _spans = spans;
        _faults = faults;
    }

    /// <summary>Starts to collect spans, or says that tracing is off.</summary>
    /// <param name="options">Where to, and how many.</param>
    /// <param name="node">Name of the process in the traces.</param>
    /// <param name="roles">What it does, for people.</param>
    /// <param name="loggers">Takes what the operator should know.</param>
    /// <param name="time">Clock.</param>
    /// <exception cref="SettingException">The collector's address is none.</exception>
    public static Telemetry Start(
        TelemetryOptions options, string node, string roles, ILoggerFactory loggers, TimeProvider time)
    {
        var logger = loggers.CreateLogger("Kimi.Mooncake.Telemetry");
        if (options.OtlpEndpoint.Length == 0)
        {
            ServingLog.TracingOff(logger);
            return new Telemetry(null, null);
        }

        if (!Uri.TryCreate(options.OtlpEndpoint, UriKind.Absolute, out var endpoint)
            || (endpoint.Scheme != Uri.UriSchemeHttp && endpoint.Scheme != Uri.UriSchemeHttps))
        {
            throw new SettingException(
                $"telemetry.otlp_endpoint is '{options.OtlpEndpoint}'; expected an address such as " +
                "http://127.0.0.1:4317");
        }

        var faults = new TelemetryFaults(logger, time);
        var spans = Sdk.CreateTracerProviderBuilder()
            .AddSource(RequestTrace.SourceName)
            .SetResourceBuilder(ResourceBuilder.CreateEmpty()
                .AddService(ServiceName, serviceInstanceId: node)
                .AddAttributes([new("mooncake.roles", roles)]))
            .SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(options.SampleRatio)))
            .AddOtlpExporter(exporter => Configure(exporter, options, endpoint))
            .Build();
        ServingLog.TracingOn(logger, endpoint, options.SampleRatio);
        return new Telemetry(spans, faults);
    }

    public void Dispose()
    {
        _spans?.Dispose();
        _faults?.Dispose();
    }

    private static void Configure(OtlpExporterOptions exporter, TelemetryOptions options, Uri endpoint)
    {
        exporter.Endpoint = endpoint;
        exporter.Protocol = options.OtlpTransport == OtlpTransport.Grpc
            ? OtlpExportProtocol.Grpc
            : OtlpExportProtocol.HttpProtobuf;
        exporter.TimeoutMilliseconds = options.SendTimeoutMs;
        exporter.BatchExportProcessorOptions = new BatchExportProcessorOptions<Activity>
        {
            MaxQueueSize = options.SpansWaitingMax,
            MaxExportBatchSize = Math.Min(options.SpansWaitingMax, SpansPerMessage),
            ScheduledDelayMilliseconds = options.SendIntervalMs,
            ExporterTimeoutMilliseconds = options.SendTimeoutMs,
        };
    }
}
