namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>What a processor would have raised instead of going on.</summary>
internal sealed class MachineFaultException(string message) : Exception(message)
{
    /// <summary>An instruction that the state of the processor does not allow.</summary>
    internal static MachineFaultException Undefined(string why) => new("#UD: " + why);

    /// <summary>A configuration or an operand that is not allowed.</summary>
    internal static MachineFaultException Protection(string why) => new("#GP: " + why);

    /// <summary>Memory outside of what the routine was given.</summary>
    internal static MachineFaultException Page(string why) => new("#PF: " + why);
}
