namespace Kimi.Mooncake.Host.Client;

/// <summary>The server refused a request, broke off an answer, or sent something that is no answer.</summary>
internal sealed class ServerException(string message) : Exception(message);
