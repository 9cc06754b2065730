using System.Buffers;
using Kimi.Mooncake.Transfer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// Buffers and windows of a server that takes frames of KV: 128 KiB for each read of a socket where it would be 4 KiB,
/// no wait before a buffer is taken, and windows that hold several frames.
/// </summary>
internal static class ReceiveBuffers
{
    private const int StreamWindowBytes = 4 << 20;
    private const int ConnectionWindowBytes = 8 << 20;

    public static void Enlarge(WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<IMemoryPoolFactory<byte>>(new OnePool());
        builder.WebHost.UseSockets(sockets => sockets.WaitForDataBeforeAllocatingBuffer = false);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.Http2.InitialStreamWindowSize = StreamWindowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = ConnectionWindowBytes;
        });
    }

    /// <summary>The parts of a server that would each make a pool share one.</summary>
    private sealed class OnePool : IMemoryPoolFactory<byte>, IDisposable
    {
        private readonly ReceiveBlockPool _pool = new();

        public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => _pool;

        public void Dispose() => _pool.Dispose();
    }
}
