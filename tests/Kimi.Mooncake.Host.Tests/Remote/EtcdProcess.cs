using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Health.V1;
using Kimi.Mooncake.Tests;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>An etcd on loopback with data in a temporary folder; killed when disposed.</summary>
internal sealed class EtcdProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromMinutes(1);

    private readonly TemporaryFolder _folder;
    private readonly Process _process;

    private EtcdProcess(TemporaryFolder folder, Process process, string address)
    {
        _folder = folder;
        _process = process;
        Address = address;
    }

    public string Address { get; }

    /// <summary>Starts it; the test is skipped where there is no etcd.</summary>
    public static EtcdProcess Start()
    {
        var folder = new TemporaryFolder();
        var (client, peer) = FreePorts();
        var (clients, peers) = ($"http://127.0.0.1:{client}", $"http://127.0.0.1:{peer}");
        string[] arguments =
        [
            "--name", "test", "--data-dir", folder.File("data"), "--listen-client-urls", clients,
            "--advertise-client-urls", clients, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", $"test={peers}", "--log-level", "error",
        ];
        try
        {
            var process = ClientProgram.StartOrIgnore(new ProcessStartInfo("etcd", arguments));
            return new EtcdProcess(folder, process, clients);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Waits until it answers.</summary>
    public async Task ReadyAsync(CallInvoker invoker)
    {
        using var limit = new CancellationTokenSource(StartTimeMax);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        var health = new Health.HealthClient(invoker);
        while (!await IsServingAsync(health, limit.Token))
        {
            Assert.That(_process.HasExited, Is.False, "etcd has ended");
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
        _process.Dispose();
        _folder.Dispose();
    }

    private static async Task<bool> IsServingAsync(Health.HealthClient health, CancellationToken limit)
    {
        try
        {
            var answer = await health.CheckAsync(new HealthCheckRequest(), cancellationToken: limit);
            return answer.Status == HealthCheckResponse.Types.ServingStatus.Serving;
        }
        catch (RpcException fault) when (fault.StatusCode == StatusCode.Unavailable)
        {
            return false;
        }
    }

    private static (int, int) FreePorts()
    {
        using var first = new TcpListener(IPAddress.Loopback, 0);
        using var second = new TcpListener(IPAddress.Loopback, 0);
        first.Start();
        second.Start();
        return (((IPEndPoint)first.LocalEndpoint).Port, ((IPEndPoint)second.LocalEndpoint).Port);
    }
}
