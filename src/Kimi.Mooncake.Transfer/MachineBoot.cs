namespace Kimi.Mooncake.Transfer;

/// <summary>Names this machine since it was started; processes with equal names can share memory.</summary>
internal static class MachineBoot
{
    private const string BootIdPath = "/proc/sys/kernel/random/boot_id";

    /// <summary>The name; one of this process alone where the system does not say.</summary>
    public static string Name { get; } = Read();

    private static string Read()
    {
        try
        {
            return File.ReadAllText(BootIdPath).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Guid.NewGuid().ToString();
        }
    }
}
