namespace Kimi.Mooncake.Host.Client;

/// <summary>The API key of whoever uses the command line.</summary>
internal static class ApiKey
{
    /// <summary>Environment variable with the key for servers that need one.</summary>
    public const string Variable = "MOONCAKE_API_KEY";

    /// <summary>The key; null where the variable is not set.</summary>
    public static string? FromEnvironment() =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } key ? key : null;
}
