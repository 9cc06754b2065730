namespace Kimi.Mooncake.Host.Configuration;

/// <summary>A setting that cannot be used. The message names setting, value, what is accepted and the source.</summary>
internal sealed class SettingException(string message) : Exception(message);
