using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The server that a question goes to: another process, or one that lives as long as the question.</summary>
internal sealed class AskTarget : IAsyncDisposable
{
    private MooncakeServer? _server;
    private ILoggerFactory? _loggers;
    private TemporaryFolder? _folder;

    private AskTarget()
    {
    }

    public CompletionClient Client { get; private set; } = null!;

    public static AskTarget Remote(Uri address) =>
        new() { Client = new CompletionClient(address, ApiKey.FromEnvironment()) };

    /// <summary>Opens a server on a free loopback port; without a model in the settings, the built-in one.</summary>
    public static async Task<AskTarget> EmbeddedAsync(ResolvedSettings settings, CancellationToken cancellationToken)
    {
        var target = new AskTarget();
        try
        {
            List<string> own = ["gateway.port=0", "gateway.address=127.0.0.1", "logging.level=warning"];
            if (settings.Bind<ModelOptions>().Path.Length == 0)
            {
                target._folder = new TemporaryFolder();
                NeedleModel.Write(target._folder.Model);
                own.Add($"model.path={target._folder.Model}");
            }

            var embedded = settings.With(SettingSources.FromArguments(own));
            target._loggers = embedded.Bind<LoggingOptions>().CreateFactory();
            target._server = await MooncakeServer.StartAsync(embedded, target._loggers, cancellationToken)
                .ConfigureAwait(false);
            target.Client = new CompletionClient(target._server.Address, ApiKey.FromEnvironment());
            return target;
        }
        catch
        {
            await target.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        if (_server is not null)
        {
            await _server.DisposeAsync().ConfigureAwait(false);
        }

        _loggers?.Dispose();
        _folder?.Dispose();
    }
}
