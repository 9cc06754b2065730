using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway;

/// <summary>Log messages of the gateway. Prompts and answers are never logged.</summary>
internal static partial class GatewayLog
{
    [LoggerMessage(1, LogLevel.Error, "Request {RequestId} failed", EventName = "RequestFailed")]
    public static partial void RequestFailed(ILogger logger, string requestId, Exception exception);

    [LoggerMessage(2, LogLevel.Debug, "Request {RequestId} was refused: {Reason}", EventName = "RequestRefused")]
    public static partial void RequestRefused(ILogger logger, string requestId, string reason);

    [LoggerMessage(3, LogLevel.Information, "Read {Path}: {Tenants} tenants", EventName = "TenantsRead")]
    public static partial void TenantsRead(ILogger logger, string path, int tenants);

    [LoggerMessage(
        4, LogLevel.Error, "The tenants stay as they were: {Reason}", EventName = "TenantsKept")]
    public static partial void TenantsKept(ILogger logger, string reason);

    [LoggerMessage(
        5, LogLevel.Warning, "The use of context {ContextId} could not be written: {Reason}",
        EventName = "ContextNotUpdated")]
    public static partial void ContextNotUpdated(ILogger logger, string contextId, string reason);

    [LoggerMessage(
        6, LogLevel.Warning, "Context {ContextId} could not be prefilled and will be tried again: {Reason}",
        EventName = "ContextNotPrefilled")]
    public static partial void ContextNotPrefilled(ILogger logger, string contextId, string reason);

    [LoggerMessage(
        7, LogLevel.Warning, "Pending contexts could not be looked for: {Reason}", EventName = "ContextScanFailed")]
    public static partial void ContextScanFailed(ILogger logger, string reason);

    [LoggerMessage(
        8, LogLevel.Error, "Read {Path}, but not everything took what it says", EventName = "TenantsNotTaken")]
    public static partial void TenantsNotTaken(ILogger logger, string path, Exception exception);
}
