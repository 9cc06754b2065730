using System.Diagnostics;
using System.Text.Json;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A <c>mooncake serve --role worker</c> in a process of its own; killed when disposed.</summary>
internal sealed class WorkerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromMinutes(2);

    private readonly Process _process;

    private WorkerProcess(Process process) => _process = process;

    public Uri Address { get; private set; } = null!;

    public static async Task<WorkerProcess> StartAsync(string model, int port = 0)
    {
        string[] arguments =
        [
            typeof(RpcServer).Assembly.Location, "serve", "--role", "prefill,decode", "--model", model, "--json",
            "--set", $"rpc.port={port}", "--set", "logging.level=error",
        ];
        var start = new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true };
        var worker = new WorkerProcess(Process.Start(start)!);
        using var limit = new CancellationTokenSource(StartTimeMax);
        try
        {
            var text = "";
            while (!text.EndsWith('}'))
            {
                text += await worker._process.StandardOutput.ReadLineAsync(limit.Token)
                    ?? throw new InvalidOperationException($"the worker ended after '{text}'");
            }

            using var announcement = JsonDocument.Parse(text);
            worker.Address = new Uri(announcement.RootElement.GetProperty("address").GetString()!);
            return worker;
        }
        catch
        {
            await worker.DisposeAsync();
            throw;
        }
    }

    public async Task KillAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _process.Dispose();
    }
}
