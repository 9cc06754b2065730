using System.Buffers;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.OpenAi;
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
        MapStatus(routes, generator.Model, generator.Status, metrics.Write);
    }

    /// <summary>Health and metrics, as every process has them.</summary>
    public static void MapStatus(
        IEndpointRouteBuilder routes, ModelCard model, Func<WorkerStatus> status, Func<WorkerStatus, string> metrics)
    {
        MapRead(routes, "/health", context => WriteHealthAsync(context, model, status()));
        MapRead(routes, "/metrics", context => WriteAsync(
            context, 200, "text/plain; version=0.0.4; charset=utf-8", Encoding.UTF8.GetBytes(metrics(status()))));
    }

    /// <summary>For HEAD, which probes use, the server itself leaves the body out.</summary>
    private static void MapRead(IEndpointRouteBuilder routes, string pattern, RequestDelegate answer) =>
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

    private static Task WriteHealthAsync(HttpContext context, ModelCard model, WorkerStatus status) =>
        WriteJsonAsync(context, status.Ready ? 200 : 503, writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("status"u8, status.Ready ? "ok"u8 : "not_ready"u8);
            writer.WriteBoolean("ready"u8, status.Ready);
            writer.WriteString("reason"u8, status.NotReadyReason);
            writer.WriteString("model"u8, model.ModelId);
            writer.WriteNumber("context_length_tokens"u8, model.ContextLength);
            writer.WriteNumber("waiting"u8, status.Waiting);
            writer.WriteNumber("running"u8, status.Running);
            writer.WriteStartObject("blocks"u8);
            writer.WriteNumber("free"u8, status.BlocksFree);
            writer.WriteNumber("cached"u8, status.BlocksCached);
            writer.WriteNumber("held"u8, status.BlocksHeld);
            writer.WriteNumber("total"u8, status.BlocksTotal);
            writer.WriteEndObject();
            writer.WriteEndObject();
        });

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
