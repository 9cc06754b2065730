using Microsoft.Extensions.Hosting;

namespace Kimi.Mooncake.Gateway;

/// <summary>Signals and the console belong to whoever starts the server.</summary>
internal sealed class CallerOwnedLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
