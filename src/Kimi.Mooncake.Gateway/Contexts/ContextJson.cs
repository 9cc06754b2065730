using System.Buffers;
using System.Text.Json;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.Contexts;

/// <summary>What the responses about contexts look like.</summary>
internal static class ContextJson
{
    /// <summary>A context as it is at a time.</summary>
    public static void Write(Utf8JsonWriter writer, KeptContext context, DateTimeOffset now)
    {
        var status = StatusOf(context, now);
        writer.WriteStartObject();
        writer.WriteString("id"u8, context.Id);
        writer.WriteString("status"u8, status);
        writer.WriteString("object"u8, "context_cache_object"u8);
        writer.WriteNumber("created_at"u8, context.CreatedUnixMs / 1000);
        writer.WriteNumber("tokens"u8, context.Tokens);
        writer.WriteNumber("expired_at"u8, context.ExpiresUnixMs / 1000);
        writer.WriteString("model"u8, context.Model);
        WriteRaw(writer, "messages"u8, context.Messages);
        WriteRaw(writer, "tools"u8, context.Tools);
        writer.WriteString("name"u8, context.Name);
        writer.WriteString("description"u8, context.Description);
        WriteMetadata(writer, context.Metadata);
        if (status == "error")
        {
            writer.WriteStartObject("error"u8);
            writer.WriteString("type"u8, context.State.ErrorType);
            writer.WriteString("message"u8, context.State.ErrorMessage);
            writer.WriteEndObject();
        }

        writer.WriteEndObject();
    }

    /// <summary>A tag.</summary>
    public static void Write(Utf8JsonWriter writer, ContextTag tag)
    {
        writer.WriteStartObject();
        writer.WriteString("cache_id"u8, tag.ContextId);
        writer.WriteNumber("created_at"u8, tag.CreatedUnixMs / 1000);
        writer.WriteString("object"u8, "cache_object.tag"u8);
        writer.WriteString("owned_by"u8, tag.Tenant);
        writer.WriteString("tag"u8, tag.Tag);
        writer.WriteEndObject();
    }

    /// <summary>A page.</summary>
    public static void WriteList<T>(Utf8JsonWriter writer, IEnumerable<T> entries, Action<T> write)
    {
        writer.WriteStartObject();
        writer.WriteString("object"u8, "list"u8);
        writer.WriteStartArray("data"u8);
        foreach (var entry in entries)
        {
            write(entry);
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>Sends JSON with status 200.</summary>
    public static async Task SendAsync(HttpContext context, Action<Utf8JsonWriter> write)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(body, FailureResponse.WriterOptions))
        {
            write(writer);
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.WrittenCount;
        await context.Response.BodyWriter.WriteAsync(body.WrittenMemory, context.RequestAborted);
    }

    private static string StatusOf(KeptContext context, DateTimeOffset now) => context.State.Status switch
    {
        ContextStatus.Error => "error",
        _ when context.ExpiresUnixMs <= now.ToUnixTimeMilliseconds() => "inactive",
        ContextStatus.Ready => "ready",
        _ => "pending",
    };

    private static void WriteRaw(Utf8JsonWriter writer, ReadOnlySpan<byte> name, ReadOnlyMemory<byte> json)
    {
        writer.WritePropertyName(name);
        writer.WriteRawValue(json.IsEmpty ? "[]"u8 : json.Span, skipInputValidation: true);
    }

    private static void WriteMetadata(Utf8JsonWriter writer, IEnumerable<KeyValuePair<string, string>>? metadata)
    {
        if (metadata is null)
        {
            writer.WriteNull("metadata"u8);
            return;
        }

        writer.WriteStartObject("metadata"u8);
        foreach (var (key, value) in metadata)
        {
            writer.WriteString(key, value);
        }

        writer.WriteEndObject();
    }
}
