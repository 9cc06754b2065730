using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>What is logged to standard error.</summary>
internal sealed record LoggingOptions
{
    /// <summary>Least level that is logged.</summary>
    [Setting("Least level of messages on standard error.")]
    public LogLevel Level { get; init; } = LogLevel.Information;

    /// <summary>Loggers of the process; the caller disposes them.</summary>
    public ILoggerFactory CreateFactory() => LoggerFactory.Create(builder => builder
        .SetMinimumLevel(Level)
        // The framework reports every request at the level of information; the gateway's own metrics count them.
        .AddFilter("Microsoft", (LogLevel)Math.Max((int)Level, (int)LogLevel.Warning))
        // The client reports every question that a worker did not answer; the gateway says it once.
        .AddFilter("Grpc", (LogLevel)Math.Max((int)Level, (int)LogLevel.Warning))
        // A failed start is told once, by the command.
        .AddFilter("Microsoft.Extensions.Hosting", LogLevel.None)
        .AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss.fff ";
        })
        .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace));
}
