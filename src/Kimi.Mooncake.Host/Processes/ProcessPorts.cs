using System.Net;
using System.Net.Sockets;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>The two ports of a process on the loopback address.</summary>
/// <param name="Main">HTTP of a gateway, gRPC of another process.</param>
/// <param name="Other">gRPC of a gateway, HTTP for health and metrics of another process.</param>
internal readonly record struct ProcessPorts(int Main, int Other)
{
    /// <summary>Ports of a process of a cluster whose first port is given; free ones where that is 0.</summary>
    public static ProcessPorts Of(ProcessConfig process, int basePort) => basePort == 0
        ? Free()
        : new ProcessPorts(basePort + process.Port, basePort + process.Port + 1);

    private static ProcessPorts Free()
    {
        using var first = new TcpListener(IPAddress.Loopback, 0);
        using var second = new TcpListener(IPAddress.Loopback, 0);
        first.Start();
        second.Start();
        return new ProcessPorts(
            ((IPEndPoint)first.LocalEndpoint).Port, ((IPEndPoint)second.LocalEndpoint).Port);
    }
}
