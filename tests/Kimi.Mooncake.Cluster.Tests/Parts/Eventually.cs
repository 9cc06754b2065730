namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>Waits for what another thread brings about, where no event tells of it.</summary>
internal static class Eventually
{
    /// <summary>What every wait in these tests gives up after.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static async Task BecomesAsync(Func<bool> condition, string what)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        using var limit = new CancellationTokenSource(Patience);
        while (!condition())
        {
            try
            {
                await timer.WaitForNextTickAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"{what} did not happen within {Patience.TotalSeconds} s");
            }
        }
    }
}
