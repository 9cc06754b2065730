using Google.Protobuf;
using Google.Protobuf.Collections;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>Contexts as messages, which the journal consists of too, and back; what comes in is checked.</summary>
internal static class ContextMessages
{
    private const int ErrorCharsMax = 4096;
    private const int ModelCharsMax = 256;

    public static Wire.Context ToMessage(KeptContext context)
    {
        var message = new Wire.Context
        {
            Id = context.Id,
            Tenant = context.Tenant,
            CacheSalt = context.CacheSalt,
            Model = context.Model,
            Messages = UnsafeByteOperations.UnsafeWrap(context.Messages),
            Tools = UnsafeByteOperations.UnsafeWrap(context.Tools),
            Name = context.Name,
            Description = context.Description,
            HasMetadata = context.Metadata is not null,
            Sequence = context.Sequence,
            CreatedUnixMs = context.CreatedUnixMs,
            ExpiresUnixMs = context.ExpiresUnixMs,
            Tokens = checked((uint)context.Tokens),
            State = ToMessage(context.State),
        };
        AddMetadata(message.Metadata, context.Metadata ?? []);
        return message;
    }

    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static KeptContext ToContext(Wire.Context message) => new()
    {
        Id = FieldCheck.Text(message.Id, "id", 0, KeptContext.IdCharsMax),
        Tenant = Tenant(message.Tenant),
        CacheSalt = FieldCheck.Text(message.CacheSalt, "cache_salt", 0, GenerationMessages.CacheSaltCharsMax),
        Model = FieldCheck.Text(message.Model, "model", 1, ModelCharsMax),
        Messages = message.Messages.Memory,
        Tools = message.Tools.Memory,
        Name = FieldCheck.Text(message.Name, "name", 0, KeptContext.NameCharsMax),
        Description = FieldCheck.Text(message.Description, "description", 0, KeptContext.DescriptionCharsMax),
        Metadata = message.HasMetadata ? ToMetadata(message.Metadata) : null,
        Sequence = message.Sequence,
        CreatedUnixMs = message.CreatedUnixMs,
        ExpiresUnixMs = message.ExpiresUnixMs,
        Tokens = FieldCheck.Count(message.Tokens, "tokens", min: 1),
        State = ToState(message.State ?? throw FieldCheck.Fault("state", "absent", "a state")),
    };

    public static Wire.ContextState ToMessage(ContextState state) => new()
    {
        Status = (Wire.ContextStatus)state.Status,
        ErrorType = state.ErrorType,
        ErrorMessage = state.ErrorMessage,
    };

    public static ContextState ToState(Wire.ContextState message) => new(
        Enum.IsDefined((ContextStatus)message.Status)
            ? (ContextStatus)message.Status
            : throw FieldCheck.Fault("state.status", $"{(int)message.Status}", "1 to 3"),
        FieldCheck.Text(message.ErrorType, "state.error_type", 0, ErrorCharsMax),
        FieldCheck.Text(message.ErrorMessage, "state.error_message", 0, ErrorCharsMax));

    public static Wire.UpdateContextRequest ToMessage(string tenant, string id, ContextUpdate update)
    {
        var message = new Wire.UpdateContextRequest
        {
            Tenant = tenant,
            Id = id,
            SetMetadata = update.Metadata is not null,
        };
        AddMetadata(message.Metadata, update.Metadata ?? []);
        if (update.ExpiresUnixMs is { } expires)
        {
            message.ExpiresUnixMs = expires;
        }

        message.State = update.State is null ? null : ToMessage(update.State);
        return message;
    }

    public static ContextUpdate ToUpdate(Wire.UpdateContextRequest message) => new(
        message.SetMetadata ? ToMetadata(message.Metadata) : null,
        message.HasExpiresUnixMs ? message.ExpiresUnixMs : null,
        message.State is null ? null : ToState(message.State));

    public static Wire.ContextTag ToMessage(ContextTag tag) => new()
    {
        Tenant = tag.Tenant,
        Tag = tag.Tag,
        ContextId = tag.ContextId,
        CreatedUnixMs = tag.CreatedUnixMs,
        Sequence = tag.Sequence,
    };

    public static ContextTag ToTag(Wire.ContextTag message) => new(
        Tenant(message.Tenant), Tag(message.Tag), Id(message.ContextId), message.CreatedUnixMs, message.Sequence);

    public static Wire.ListContextsRequest ToMessage(string tenant, ContextQuery query)
    {
        var message = new Wire.ListContextsRequest
        {
            Tenant = tenant,
            Limit = checked((uint)query.Limit),
            Ascending = query.Ascending,
            After = query.After,
            Before = query.Before,
        };
        AddMetadata(message.Metadata, query.Metadata);
        return message;
    }

    public static ContextQuery ToQuery(Wire.ListContextsRequest message) => new()
    {
        Limit = FieldCheck.Count(message.Limit, "limit", 1, ContextQuery.LimitMax),
        Ascending = message.Ascending,
        After = FieldCheck.Text(message.After, "after", 0, KeptContext.IdCharsMax),
        Before = FieldCheck.Text(message.Before, "before", 0, KeptContext.IdCharsMax),
        Metadata = ToMetadata(message.Metadata),
    };

    public static ContextQuery ToQuery(Wire.ListContextTagsRequest message) => new()
    {
        Limit = FieldCheck.Count(message.Limit, "limit", 1, ContextQuery.LimitMax),
        Ascending = message.Ascending,
        After = FieldCheck.Text(message.After, "after", 0, ContextTag.CharsMax),
        Before = FieldCheck.Text(message.Before, "before", 0, ContextTag.CharsMax),
    };

    public static IReadOnlyList<string> ToTags(RepeatedField<string> tags) => tags.Count <= ContextTag.TagsMax
        ? [.. tags.Select(Tag)]
        : throw FieldCheck.Fault("tags", $"{tags.Count} tags", $"at most {ContextTag.TagsMax}");

    public static string Tenant(string tenant) =>
        FieldCheck.Text(tenant, "tenant", 0, GenerationMessages.TenantCharsMax);

    public static string Id(string id) => FieldCheck.Text(id, "id", 1, KeptContext.IdCharsMax);

    public static string Tag(string tag) => ContextTag.IsTag(tag)
        ? tag
        : throw FieldCheck.Fault(
            "tag", $"text of {tag.Length} characters",
            $"1 to {ContextTag.CharsMax} characters: a letter, then letters, digits, _, - and .");

    private static void AddMetadata(
        RepeatedField<Wire.ContextMetadata> messages, IEnumerable<KeyValuePair<string, string>> metadata) =>
        messages.AddRange(metadata.Select(pair => new Wire.ContextMetadata { Key = pair.Key, Value = pair.Value }));

    private static IReadOnlyList<KeyValuePair<string, string>> ToMetadata(
        RepeatedField<Wire.ContextMetadata> messages) =>
        messages.Count <= KeptContext.MetadataMax
            ? [.. messages.Select(pair => KeyValuePair.Create(
                FieldCheck.Text(pair.Key, "metadata.key", 0, KeptContext.MetadataKeyCharsMax),
                FieldCheck.Text(pair.Value, "metadata.value", 0, KeptContext.MetadataValueCharsMax)))]
            : throw FieldCheck.Fault("metadata", $"{messages.Count} pairs", $"at most {KeptContext.MetadataMax}");
}
