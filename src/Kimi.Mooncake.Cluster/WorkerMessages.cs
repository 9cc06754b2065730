using Google.Protobuf;
using Grpc.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>Status and refusals of a worker between their messages and the port's types.</summary>
public static class WorkerMessages
{
    private const string RefusalTrailer = "mooncake-refusal-bin";

    /// <summary>The message of a worker's status.</summary>
    /// <exception cref="ArgumentException">A metric has labels, which only a cluster's have.</exception>
    public static Wire.GetStatusResponse ToMessage(WorkerStatus status)
    {
        ArgumentNullException.ThrowIfNull(status);
        var message = new Wire.GetStatusResponse
        {
            Ready = status.Ready,
            NotReadyReason = status.NotReadyReason,
            Waiting = (uint)status.Waiting,
            Running = (uint)status.Running,
            BlocksTotal = (uint)status.BlocksTotal,
            BlocksFree = (uint)status.BlocksFree,
            BlocksCached = (uint)status.BlocksCached,
            BlocksHeld = (uint)status.BlocksHeld,
        };
        foreach (var metric in status.Metrics)
        {
            if (metric.Labels.Length > 0)
            {
                throw new ArgumentException($"metric {metric.Name} has labels, its message has none", nameof(status));
            }

            message.Metrics.Add(new Wire.Metric
            {
                Name = metric.Name,
                IsCounter = metric.IsCounter,
                Help = metric.Help,
                Value = metric.Value,
            });
        }

        return message;
    }

    /// <summary>The status of a message.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static WorkerStatus ToStatus(Wire.GetStatusResponse message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return new WorkerStatus
        {
            Ready = message.Ready,
            NotReadyReason = message.NotReadyReason,
            Waiting = Count(message.Waiting, "waiting"),
            Running = Count(message.Running, "running"),
            BlocksTotal = Count(message.BlocksTotal, "blocks_total"),
            BlocksFree = Count(message.BlocksFree, "blocks_free"),
            BlocksCached = Count(message.BlocksCached, "blocks_cached"),
            BlocksHeld = Count(message.BlocksHeld, "blocks_held"),
            Metrics = [.. message.Metrics.Select(ToMetric)],
        };
    }

    /// <summary>A refusal as the status and trailer of a call.</summary>
    public static RpcException ToRpcException(QueueFullException refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        var details = new Wire.QueueFull { Waiting = (uint)refusal.Waiting, WaitingMax = (uint)refusal.WaitingMax };
        return Refuse(StatusCode.ResourceExhausted, refusal, new Wire.Refusal { QueueFull = details });
    }

    /// <summary>A refusal as the status and trailer of a call.</summary>
    public static RpcException ToRpcException(PromptTooLongException refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        var details = new Wire.PromptTooLong { Tokens = (uint)refusal.Tokens, TokensMax = (uint)refusal.TokensMax };
        return Refuse(StatusCode.OutOfRange, refusal, new Wire.Refusal { PromptTooLong = details });
    }

    /// <summary>A refusal as the status and trailer of a call.</summary>
    public static RpcException ToRpcException(PrefillUnavailableException refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        var details = new Wire.PrefillUnavailable { Address = refusal.Address, Reason = refusal.Reason };
        return Refuse(StatusCode.Unavailable, refusal, new Wire.Refusal { PrefillUnavailable = details });
    }

    /// <summary>A refusal as the status and trailer of a call.</summary>
    public static RpcException ToRpcException(DrainingException refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        return Refuse(StatusCode.Unavailable, refusal, new Wire.Refusal { Draining = new Wire.Draining() });
    }

    /// <summary>The status and trailer of a call for a refusal of any kind; null for what is none.</summary>
    /// <param name="exception">What was thrown.</param>
    public static RpcException? RefusalOf(Exception exception) => exception switch
    {
        QueueFullException refusal => ToRpcException(refusal),
        PromptTooLongException refusal => ToRpcException(refusal),
        PrefillUnavailableException refusal => ToRpcException(refusal),
        DrainingException refusal => ToRpcException(refusal),
        _ => null,
    };

    /// <summary>The refusal that a call's trailer tells of; null where there is none.</summary>
    /// <exception cref="InvalidDataException">The trailer is no refusal.</exception>
    public static Exception? ToRefusal(RpcException exception)
    {
        ArgumentNullException.ThrowIfNull(exception);
        if (exception.Trailers.GetValueBytes(RefusalTrailer) is not { } bytes)
        {
            return null;
        }

        try
        {
            var refusal = Wire.Refusal.Parser.ParseFrom(bytes);
            return refusal.RefusalCase switch
            {
                Wire.Refusal.RefusalOneofCase.QueueFull => new QueueFullException(
                    Count(refusal.QueueFull.Waiting, "waiting"), Count(refusal.QueueFull.WaitingMax, "waiting_max")),
                Wire.Refusal.RefusalOneofCase.PromptTooLong => new PromptTooLongException(
                    Count(refusal.PromptTooLong.Tokens, "tokens"),
                    Count(refusal.PromptTooLong.TokensMax, "tokens_max")),
                Wire.Refusal.RefusalOneofCase.PrefillUnavailable => new PrefillUnavailableException(
                    refusal.PrefillUnavailable.Address, refusal.PrefillUnavailable.Reason),
                Wire.Refusal.RefusalOneofCase.Draining => new DrainingException(),
                _ => null,
            };
        }
        catch (InvalidProtocolBufferException fault)
        {
            throw new InvalidDataException($"trailer {RefusalTrailer} is no Refusal: {fault.Message}", fault);
        }
    }

    private static RpcException Refuse(StatusCode code, Exception refusal, Wire.Refusal details) =>
        new(new Status(code, refusal.Message), new Metadata { { RefusalTrailer, details.ToByteArray() } });

    private static Metric ToMetric(Wire.Metric metric)
    {
        var isName = metric.Name.Length > 0 && metric.Name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');
        return isName && !metric.Help.Contains('\n', StringComparison.Ordinal)
            ? new Metric(metric.Name, metric.IsCounter, metric.Help, metric.Value)
            : throw new InvalidDataException(
                $"field metrics: name '{metric.Name}', help '{metric.Help}'; expected letters, digits and '_', and " +
                "one line of help");
    }

    private static int Count(uint value, string field) => value <= int.MaxValue
        ? (int)value
        : throw new InvalidDataException($"field {field}: {value}; expected at most {int.MaxValue}");
}
