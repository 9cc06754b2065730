using System.Buffers;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Gateway.Tenancy;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Kimi.Mooncake.Gateway;

/// <summary>Models, health and metrics.</summary>
internal static class StatusEndpoints
{
    public static void Map(IEndpointRouteBuilder routes, ITokenGenerator generator, GatewayMetrics metrics)
    {
        MapRead(routes, "/v1/models", context => WriteModelsAsync(context, generator.Model));
        MapRead(routes, "/v1/models/{**model}", context => WriteModelAsync(context, generator.Model));
        MapStatus(routes, () => generator.Model, generator.Status, metrics.Write);
    }

    /// <summary>What the caller's tenant used and saved.</summary>
    public static void MapSavings(IEndpointRouteBuilder routes, SavingsLedger savings) =>
        MapRead(routes, "/v1/savings", context => WriteSavingsAsync(context, savings));

    /// <summary>Health and metrics, as every process has them; they need no key.</summary>
    public static void MapStatus(
        IEndpointRouteBuilder routes, Func<ModelCard?> model, Func<WorkerStatus> status,
        Func<WorkerStatus, string> metrics)
    {
        MapRead(routes, "/health", context => WriteHealthAsync(context, status(), model()))
            .WithMetadata(CallerGate.Open);
        MapRead(
            routes, "/metrics",
            context => WriteAsync(
                context, 200, "text/plain; version=0.0.4; charset=utf-8", Encoding.UTF8.GetBytes(metrics(status()))))
            .WithMetadata(CallerGate.Open);
    }

    /// <summary>For HEAD, which probes use, the server itself leaves the body out.</summary>
    private static IEndpointConventionBuilder MapRead(
        IEndpointRouteBuilder routes, string pattern, RequestDelegate answer) =>
        routes.MapMethods(pattern, [HttpMethods.Get, HttpMethods.Head], answer);

    private static Task WriteModelsAsync(HttpContext context, ModelCard model) => WriteJsonAsync(context, 200, writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("object"u8, "list"u8);
        writer.WriteStartArray("data"u8);
        WriteModel(writer, model);
        writer.WriteEndArray();
        writer.WriteEndObject();
    });

    private static Task WriteModelAsync(HttpContext context, ModelCard model)
    {
        // Model names may contain slashes, so the route takes the rest of the path.
        var asked = context.Request.RouteValues["model"] as string ?? "";
        return asked == model.ModelId
            ? WriteJsonAsync(context, 200, writer => WriteModel(writer, model))
            : throw ApiException.ModelNotFound(asked);
    }

    private static void WriteModel(Utf8JsonWriter writer, ModelCard model)
    {
        writer.WriteStartObject();
        writer.WriteString("id"u8, model.ModelId);
        writer.WriteString("object"u8, "model"u8);
        writer.WriteNumber("created"u8, model.CreatedUnixSeconds);
        writer.WriteString("owned_by"u8, "kimi-mooncake"u8);
        writer.WriteNumber("max_model_len"u8, model.ContextLength);
        writer.WriteEndObject();
    }

    private static Task WriteSavingsAsync(HttpContext context, SavingsLedger savings)
    {
        var tenant = CallerIdentity.Of(context).Tenant;
        var account = savings.Of(tenant) ?? throw ApiException.NotAccounted(tenant);
        return WriteJsonAsync(context, 200, writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("object"u8, "savings"u8);
            writer.WriteString("tenant"u8, tenant);
            writer.WriteNumber("since"u8, savings.SinceUnixSeconds);
            writer.WriteNumber("requests"u8, account.Requests);
            writer.WriteNumber("prompt_tokens"u8, account.PromptTokens);
            writer.WriteNumber("cached_tokens"u8, account.CachedTokens);
            writer.WriteNumber("completion_tokens"u8, account.CompletionTokens);
            writer.WriteNumber("prefill_seconds_saved"u8, account.PrefillSecondsSaved);
            writer.WriteEndObject();
        });
    }

    private static Task WriteHealthAsync(HttpContext context, WorkerStatus status, ModelCard? model) =>
        WriteJsonAsync(context, status.Ready ? 200 : 503, writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("status"u8, NameOf(status));
            writer.WriteBoolean("ready"u8, status.Ready);
            writer.WriteString("reason"u8, status.NotReadyReason);
            if (model is not null)
            {
                writer.WriteString("model"u8, model.ModelId);
                writer.WriteNumber("context_length_tokens"u8, model.ContextLength);
            }

            writer.WriteNumber("waiting"u8, status.Waiting);
            writer.WriteNumber("running"u8, status.Running);
            WriteBlocks(writer, status.BlocksFree, status.BlocksCached, status.BlocksHeld, status.BlocksTotal);
            if (status.Cluster is { } cluster)
            {
                WriteCluster(writer, cluster);
            }

            writer.WriteEndObject();
        });

    private static string NameOf(WorkerStatus status) => status switch
    {
        { Ready: false } => "not_ready",
        { Cluster.DegradedReason.Length: > 0 } => "degraded",
        _ => "ok",
    };

    private static void WriteCluster(Utf8JsonWriter writer, ClusterStatus cluster)
    {
        writer.WriteBoolean("degraded"u8, cluster.DegradedReason.Length > 0);
        writer.WriteString("degraded_reason"u8, cluster.DegradedReason);
        writer.WriteNumber("waiting_for_workers"u8, cluster.Waiting);
        writer.WriteNumber("routed"u8, cluster.Routed);
        writer.WriteStartObject("nodes"u8);
        WriteNodes(writer, "prefill"u8, cluster.Nodes.Where(node => node.Roles.HasFlag(NodeRoles.Prefill)));
        WriteNodes(writer, "decode"u8, cluster.Nodes.Where(node => node.Roles.HasFlag(NodeRoles.Decode)));
        WriteNodes(writer, "store"u8, cluster.Nodes.Where(node => node.Roles.HasFlag(NodeRoles.Store)));
        writer.WriteEndObject();
    }

    private static void WriteNodes(Utf8JsonWriter writer, ReadOnlySpan<byte> role, IEnumerable<NodeStatus> nodes)
    {
        writer.WriteStartArray(role);
        foreach (var node in nodes)
        {
            writer.WriteStartObject();
            writer.WriteString("node_id"u8, node.NodeId);
            writer.WriteString("address"u8, node.Address);
            writer.WriteString("health"u8, node.Health);
            writer.WriteString("reason"u8, node.HealthReason);
            writer.WriteNumber("waiting"u8, node.Waiting);
            writer.WriteNumber("running"u8, node.Running);
            writer.WriteNumber("routed"u8, node.Routed);
            writer.WriteNumber("indexed_blocks"u8, node.IndexedBlocks);
            WriteBlocks(writer, node.BlocksFree, node.BlocksCached, node.BlocksHeld, node.BlocksTotal);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteBlocks(Utf8JsonWriter writer, int free, int cached, int held, int total)
    {
        writer.WriteStartObject("blocks"u8);
        writer.WriteNumber("free"u8, free);
        writer.WriteNumber("cached"u8, cached);
        writer.WriteNumber("held"u8, held);
        writer.WriteNumber("total"u8, total);
        writer.WriteEndObject();
    }

    private static Task WriteJsonAsync(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(body, FailureResponse.WriterOptions))
        {
            write(writer);
        }

        return WriteAsync(context, status, "application/json", body.WrittenMemory);
    }

    private static async Task WriteAsync(
        HttpContext context, int status, string contentType, ReadOnlyMemory<byte> body)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        await context.Response.BodyWriter.WriteAsync(body, context.RequestAborted);
    }
}
