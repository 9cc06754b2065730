using Grpc.Core;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>A prefill worker that does what a test says, with a transfer engine of its own.</summary>
internal sealed class ScriptedPrefill : Wire.Prefill.PrefillBase, IAsyncDisposable
{
    private readonly Func<Wire.PrefillRequest, TransferEngine, Func<Wire.PrefillEvent, Task>, Task> _script;
    private LoopbackServer? _server;

    private ScriptedPrefill(Func<Wire.PrefillRequest, TransferEngine, Func<Wire.PrefillEvent, Task>, Task> script) =>
        _script = script;

    public TransferEngine Transfer { get; } = new(
        new TransferOptions(), new PeerOptions(), NullLoggerFactory.Instance, TimeProvider.System);

    public string Address => _server!.Address;

    /// <summary>Starts a worker that answers every order with some events and sends no byte.</summary>
    public static Task<ScriptedPrefill> StartAsync(params Wire.PrefillEvent[] events) =>
        StartAsync(async (_, _, write) =>
        {
            foreach (var next in events)
            {
                await write(next);
            }
        });

    public static async Task<ScriptedPrefill> StartAsync(
        Func<Wire.PrefillRequest, TransferEngine, Func<Wire.PrefillEvent, Task>, Task> script)
    {
        var worker = new ScriptedPrefill(script);
        worker._server = await LoopbackServer.StartAsync(worker, worker.Transfer.Service);
        return worker;
    }

    public override Task Prefill(
        Wire.PrefillRequest request, IServerStreamWriter<Wire.PrefillEvent> responseStream,
        ServerCallContext context) =>
        _script(request, Transfer, responseStream.WriteAsync);

    public async ValueTask DisposeAsync()
    {
        await _server!.DisposeAsync();
        await Transfer.DisposeAsync();
    }
}
