using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Protocol;

/// <summary>How long blocks are kept, between messages and the records of Core. What comes in is checked.</summary>
public static class RetentionMessages
{
    /// <summary>Most leading parts of a prompt that one request may want kept.</summary>
    public const int RetainedPrefixesMax = 16;

    /// <summary>The message of a retention.</summary>
    public static Wire.BlockRetention ToMessage(BlockRetention retention) => new()
    {
        Pin = (Wire.PinKind)retention.Pin,
        PinSeconds = checked((uint)retention.PinSeconds),
        LifetimeSeconds = checked((uint)retention.LifetimeSeconds),
        Priority = checked((uint)retention.Priority),
    };

    /// <summary>The message of a class.</summary>
    public static Wire.BlockClass ToMessage(BlockClass blockClass) => (Wire.BlockClass)blockClass;

    /// <summary>The message of a prefix that is to be kept.</summary>
    public static Wire.RetainedPrefix ToMessage(RetainedPrefix prefix) => new()
    {
        Tokens = checked((uint)prefix.Tokens),
        Retention = ToMessage(prefix.Retention),
        BlockClass = ToMessage(prefix.Class),
    };

    /// <summary>The retention of a message; the default where it is absent.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static BlockRetention ToRetention(Wire.BlockRetention? message) => message is null
        ? default
        : new BlockRetention(
            Enum.IsDefined((PinKind)message.Pin)
                ? (PinKind)message.Pin
                : throw FieldCheck.Fault("retention.pin", $"{(int)message.Pin}", "0 to 2"),
            FieldCheck.Count(message.PinSeconds, "retention.pin_seconds", 0, BlockRetention.SecondsMax),
            FieldCheck.Count(message.LifetimeSeconds, "retention.lifetime_seconds", 0, BlockRetention.SecondsMax),
            FieldCheck.Count(message.Priority, "retention.priority", 0, BlockRetention.PriorityMax));

    /// <summary>The class of a message.</summary>
    /// <exception cref="InvalidDataException">It is none that this version knows.</exception>
    public static BlockClass ToClass(Wire.BlockClass message) => Enum.IsDefined((BlockClass)message)
        ? (BlockClass)message
        : throw FieldCheck.Fault("block_class", $"{(int)message}", "0 or 1");

    /// <summary>What comes with the blocks of a put.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static BlockAttributes ToAttributes(Wire.BeginPutRequest message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return new BlockAttributes(
            FieldCheck.Tenant(message.Tenant),
            ToRetention(message.Retention),
            ToClass(message.BlockClass));
    }

    /// <summary>The prefixes of a request.</summary>
    /// <exception cref="InvalidDataException">There are too many, or a field is out of its range.</exception>
    public static IReadOnlyList<RetainedPrefix> ToPrefixes(IReadOnlyCollection<Wire.RetainedPrefix> messages)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return messages.Count <= RetainedPrefixesMax
            ? [.. messages.Select(message => new RetainedPrefix(
                FieldCheck.Count(message.Tokens, "retain.tokens", min: 1),
                ToRetention(message.Retention),
                ToClass(message.BlockClass)))]
            : throw FieldCheck.Fault("retain", $"{messages.Count} prefixes", $"at most {RetainedPrefixesMax}");
    }
}
