namespace Kimi.Mooncake.Store;

/// <summary>The store cannot be opened; the message names the folder or the setting and says why.</summary>
/// <param name="message">What a user reads.</param>
/// <param name="innerException">The cause, where there is one.</param>
public sealed class StoreException(string message, Exception? innerException = null)
    : Exception(message, innerException);
