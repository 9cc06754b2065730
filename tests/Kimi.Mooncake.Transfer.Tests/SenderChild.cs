namespace Kimi.Mooncake.Transfer.Tests;

internal static class SenderChild
{
    private static int Main() => 0;
}
