namespace Kimi.Mooncake.Host.Client;

/// <summary>The server refused a request, broke off an answer, or sent something that is no answer.</summary>
internal sealed class ServerException(string message) : Exception(message)
{
    /// <summary>Whether the server itself said so; otherwise the connection or the stream broke.</summary>
    public bool IsClean { get; init; }

    /// <summary>The HTTP status of a refusal; null where the answer had begun.</summary>
    public int? Status { get; init; }
}
