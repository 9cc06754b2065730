namespace Kimi.Mooncake.Engine;

/// <summary>One prompt on its way through the engine.</summary>
public sealed class Sequence
{
}
