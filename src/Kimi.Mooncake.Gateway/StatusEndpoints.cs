using System.Buffers;
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
        routes.MapGet("/v1/models", context => WriteModelsAsync(context, generator.Model));
        routes.MapGet("/v1/models/{**model}", context => WriteModelAsync(context, generator.Model));
        routes.MapGet("/health", context => WriteHealthAsync(context, generator));
        routes.MapGet("/metrics", context =>
        {
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            return context.Response.WriteAsync(metrics.Write(generator.Status()), context.RequestAborted);
        });
    }

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

    private static Task WriteHealthAsync(HttpContext context, ITokenGenerator generator)
    {
        var status = generator.Status();
        return WriteJsonAsync(context, status.Ready ? 200 : 503, writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("status"u8, status.Ready ? "ok"u8 : "not_ready"u8);
            writer.WriteBoolean("ready"u8, status.Ready);
            writer.WriteString("reason"u8, status.NotReadyReason);
            writer.WriteString("model"u8, generator.Model.ModelId);
            writer.WriteNumber("context_length_tokens"u8, generator.Model.ContextLength);
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
    }

    private static async Task WriteJsonAsync(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(body, FailureResponse.WriterOptions))
        {
            write(writer);
        }

        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.WrittenCount;
        await context.Response.BodyWriter.WriteAsync(body.WrittenMemory, context.RequestAborted);
    }
}
