using System.Net;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway;

/// <summary>Health and metrics over HTTP of a process that is no gateway.</summary>
public sealed class StatusServer : IAsyncDisposable
{
    private readonly WebApplication _application;

    private StatusServer(WebApplication application) => _application = application;

    /// <summary>Starts to listen.</summary>
    /// <param name="options">Where; already validated.</param>
    /// <param name="model">What the process serves; null for one that serves no model.</param>
    /// <param name="status">Reads load and counters.</param>
    /// <param name="loggers">Where logs go; owned by the caller.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="ArgumentException">The address is not an IP address.</exception>
    /// <exception cref="IOException">The port is in use.</exception>
    public static async Task<StatusServer> StartAsync(
        StatusOptions options, ModelCard? model, Func<WorkerStatus> status, ILoggerFactory loggers,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!IPAddress.TryParse(options.Address, out var address))
        {
            throw new ArgumentException(
                $"status.address is '{options.Address}'; expected an IP address", nameof(options));
        }

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, CallerOwnedLifetime>();
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = options.ConnectionsMax;
            kestrel.Listen(address, options.Port, listener => listener.Protocols = HttpProtocols.Http1);
        });
        var application = builder.Build();
        StatusEndpoints.MapStatus(application, () => model, status, WritePage);
        var server = new StatusServer(application);
        try
        {
            await application.StartAsync(cancellationToken);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _application.DisposeAsync();

    private static string WritePage(WorkerStatus status)
    {
        var page = new MetricsPage();
        page.AddWorker(status);
        return page.Text.ToString();
    }
}
