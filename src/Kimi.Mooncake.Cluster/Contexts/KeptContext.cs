namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>How far a context is; whether it has expired is a matter of the clock.</summary>
public enum ContextStatus
{
    /// <summary>Not prefilled yet.</summary>
    Pending = 1,

    /// <summary>It was prefilled.</summary>
    Ready = 2,

    /// <summary>It cannot be prefilled.</summary>
    Error = 3,
}

/// <summary>How far a context is, and what is wrong with it.</summary>
/// <param name="Status">How far.</param>
/// <param name="ErrorType">Kind of error; empty without one.</param>
/// <param name="ErrorMessage">What is wrong, for people; empty without an error.</param>
public sealed record ContextState(ContextStatus Status, string ErrorType = "", string ErrorMessage = "")
{
    /// <summary>Not prefilled yet.</summary>
    public static ContextState Pending { get; } = new(ContextStatus.Pending);

    /// <summary>It was prefilled.</summary>
    public static ContextState Ready { get; } = new(ContextStatus.Ready);
}

/// <summary>A beginning of conversations that its creator wants kept prefilled.</summary>
public sealed record KeptContext
{
    /// <summary>Most characters of <see cref="Id"/>.</summary>
    public const int IdCharsMax = 64;

    /// <summary>Most characters of <see cref="Name"/>.</summary>
    public const int NameCharsMax = 256;

    /// <summary>Most characters of <see cref="Description"/>.</summary>
    public const int DescriptionCharsMax = 512;

    /// <summary>Most pairs of <see cref="Metadata"/>.</summary>
    public const int MetadataMax = 16;

    /// <summary>Most characters of a key of <see cref="Metadata"/>.</summary>
    public const int MetadataKeyCharsMax = 64;

    /// <summary>Most characters of a value of <see cref="Metadata"/>.</summary>
    public const int MetadataValueCharsMax = 512;

    /// <summary>Name of the context; the catalog gives it.</summary>
    public string Id { get; init; } = "";

    /// <summary>Whose it is; empty is one of them.</summary>
    public required string Tenant { get; init; }

    /// <summary>What separates its blocks from those of other salts.</summary>
    public string CacheSalt { get; init; } = "";

    /// <summary>The model as its creator named it.</summary>
    public required string Model { get; init; }

    /// <summary>UTF-8 JSON array of messages, as it was given.</summary>
    public required ReadOnlyMemory<byte> Messages { get; init; }

    /// <summary>UTF-8 JSON array of tools, as it was given; empty where none was.</summary>
    public ReadOnlyMemory<byte> Tools { get; init; }

    /// <summary>What its creator calls it.</summary>
    public string Name { get; init; } = "";

    /// <summary>What its creator says of it.</summary>
    public string Description { get; init; } = "";

    /// <summary>Pairs of its creator's own; null where none were given.</summary>
    public IReadOnlyList<KeyValuePair<string, string>>? Metadata { get; init; }

    /// <summary>Greater for each context than for all created before it; the catalog gives it.</summary>
    public ulong Sequence { get; init; }

    /// <summary>When it was created, in milliseconds of Unix time; the catalog gives it.</summary>
    public long CreatedUnixMs { get; init; }

    /// <summary>When it stops to be kept, in milliseconds of Unix time.</summary>
    public required long ExpiresUnixMs { get; init; }

    /// <summary>Tokens of its messages.</summary>
    public required int Tokens { get; init; }

    /// <summary>How far it is.</summary>
    public ContextState State { get; init; } = ContextState.Pending;

    /// <summary>What it counts for in the limits of bytes: its texts, and a sum for the rest.</summary>
    public long Bytes => Messages.Length + Tools.Length + BytesOfRest
        + 2 * (Name.Length + Description.Length + (Metadata?.Sum(pair => pair.Key.Length + pair.Value.Length) ?? 0));

    private static int BytesOfRest => 512;

    /// <summary>Whether a pair is among its metadata.</summary>
    public bool Has(KeyValuePair<string, string> pair) => Metadata?.Contains(pair) ?? false;
}

/// <summary>A tenant's name for one of its contexts, which may be pointed at another one.</summary>
/// <param name="Tenant">Whose it is.</param>
/// <param name="Tag">The name.</param>
/// <param name="ContextId">What it points to.</param>
/// <param name="CreatedUnixMs">When it was set, in milliseconds of Unix time.</param>
/// <param name="Sequence">Greater for each tag than for all set before it.</param>
public sealed record ContextTag(string Tenant, string Tag, string ContextId, long CreatedUnixMs, ulong Sequence)
{
    /// <summary>Most characters of a tag.</summary>
    public const int CharsMax = 128;

    /// <summary>Most tags of a new context.</summary>
    public const int TagsMax = 1024;

    /// <summary>Whether a text may be a tag: a letter, then letters, digits, <c>_</c>, <c>-</c> and <c>.</c>.</summary>
    public static bool IsTag(string text) =>
        text.Length is > 0 and <= CharsMax && char.IsAsciiLetter(text[0])
        && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.');
}

/// <summary>Which part of a tenant's contexts or tags is wanted.</summary>
public sealed record ContextQuery
{
    /// <summary>Most entries of one page.</summary>
    public const int LimitMax = 100;

    /// <summary>At most so many; fewer where they are large.</summary>
    public int Limit { get; init; } = 20;

    /// <summary>Oldest first.</summary>
    public bool Ascending { get; init; }

    /// <summary>The page begins after this one; empty for no bound.</summary>
    public string After { get; init; } = "";

    /// <summary>The page ends before this one; empty for no bound.</summary>
    public string Before { get; init; } = "";

    /// <summary>Only contexts that have all of these; says nothing about tags.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Metadata { get; init; } = [];
}

/// <summary>What is to change; null leaves it as it is.</summary>
/// <param name="Metadata">The pairs from now on.</param>
/// <param name="ExpiresUnixMs">When it expires, in milliseconds of Unix time.</param>
/// <param name="State">How far it is.</param>
public sealed record ContextUpdate(
    IReadOnlyList<KeyValuePair<string, string>>? Metadata = null,
    long? ExpiresUnixMs = null,
    ContextState? State = null);
