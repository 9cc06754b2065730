namespace Kimi.Mooncake.Core;

/// <summary>How strongly the store holds on to a block.</summary>
public enum PinKind
{
    /// <summary>Goes when its turn comes.</summary>
    None = 0,

    /// <summary>Goes only when nothing without a pin is left.</summary>
    Soft = 1,

    /// <summary>Does not go; what would need its room is refused.</summary>
    Hard = 2,
}

/// <summary>What a block belongs to; each class has a replication factor of its own.</summary>
public enum BlockClass
{
    /// <summary>A prompt like any other.</summary>
    Prompt = 0,

    /// <summary>A context that a user created by name, or marked to be kept.</summary>
    Context = 1,
}

/// <summary>How long a block is kept. The default is a block that is not pinned and does not expire.</summary>
/// <param name="Pin">How strongly it is held on to.</param>
/// <param name="PinSeconds">How long the pin lasts, in seconds; 0 has no end.</param>
/// <param name="LifetimeSeconds">Seconds after which the block is a miss; 0 never.</param>
/// <param name="Priority">0 to <see cref="PriorityMax"/>; of blocks with the same pin the lower ones go first.</param>
public readonly record struct BlockRetention(
    PinKind Pin = PinKind.None, int PinSeconds = 0, int LifetimeSeconds = 0, int Priority = 0)
{
    /// <summary>Highest priority.</summary>
    public const int PriorityMax = 3;

    /// <summary>Longest pin or lifetime: ten years, in seconds.</summary>
    public const int SecondsMax = 10 * 366 * 24 * 3600;

    /// <summary>
    /// What satisfies both, where both begin at the same time: the stronger pin as long as it was asked for, the longer
    /// life, the higher priority.
    /// </summary>
    public static BlockRetention Strongest(BlockRetention first, BlockRetention second) => new(
        first.Pin > second.Pin ? first.Pin : second.Pin,
        first.Pin == second.Pin ? Longest(first.PinSeconds, second.PinSeconds)
            : first.Pin > second.Pin ? first.PinSeconds
            : second.PinSeconds,
        Longest(first.LifetimeSeconds, second.LifetimeSeconds),
        Math.Max(first.Priority, second.Priority));

    private static int Longest(int seconds, int other) => seconds == 0 || other == 0 ? 0 : Math.Max(seconds, other);
}

/// <summary>What comes with a block when it is stored.</summary>
/// <param name="Tenant">Who pays for its room; empty is one tenant like others.</param>
/// <param name="Retention">How long it is kept.</param>
/// <param name="Class">What it belongs to.</param>
public sealed record BlockAttributes(string Tenant, BlockRetention Retention, BlockClass Class)
{
    /// <summary>Longest name of a tenant, in bytes of UTF-8: as much as stored blocks have room for.</summary>
    public const int TenantBytesMax = 120;

    /// <summary>A prompt's block of nobody in particular.</summary>
    public static BlockAttributes Default { get; } = new("", default, BlockClass.Prompt);
}

/// <summary>A wish that the first tokens of a prompt are kept, as far as they fill whole blocks.</summary>
/// <param name="Tokens">Leading tokens of the prompt.</param>
/// <param name="Retention">How long.</param>
/// <param name="Class">What they belong to.</param>
public readonly record struct RetainedPrefix(int Tokens, BlockRetention Retention, BlockClass Class);
