using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// The published blocks of a worker's pool, held and released by its engine between two steps. Pulls hold at most one
/// part of the pool at once, so that slow receivers leave the rest to requests.
/// </summary>
/// <param name="worker">Owns the pool.</param>
/// <param name="poolShare">Pulls may hold one part in this many.</param>
internal sealed class EnginePublishedBlocks(KimiWorker worker, int poolShare) : IPublishedBlocks
{
    private readonly Lock _gate = new();
    private int _room = Math.Max(1, worker.Memory.BlockCount / poolShare);

    /// <inheritdoc />
    public nint AddressOf(int blockId) => worker.Memory.Address(blockId, 0, 0);

    /// <inheritdoc />
    public Task<int> CountAsync(ReadOnlyMemory<BlockKey> keys) => worker.OnEngineAsync(engine =>
    {
        var blockIds = new int[keys.Length];
        var held = engine.HoldPublished(keys.Span, blockIds);
        engine.ReleaseHeld(blockIds.AsSpan(0, held));
        return held;
    });

    /// <inheritdoc />
    public async Task<int[]> HoldAsync(ReadOnlyMemory<BlockKey> keys)
    {
        var room = TakeRoom(keys.Length);
        if (room == 0)
        {
            return [];
        }

        var blockIds = new int[room];
        var held = 0;
        try
        {
            held = await worker.OnEngineAsync(engine => engine.HoldPublished(keys.Span[..room], blockIds))
                .ConfigureAwait(false);
            return blockIds[..held];
        }
        finally
        {
            GiveRoom(room - held);
        }
    }

    /// <inheritdoc />
    public void Release(int[] blockIds)
    {
        worker.PostToEngine(engine => engine.ReleaseHeld(blockIds));
        GiveRoom(blockIds.Length);
    }

    private int TakeRoom(int blocks)
    {
        lock (_gate)
        {
            var taken = Math.Min(blocks, _room);
            _room -= taken;
            return taken;
        }
    }

    private void GiveRoom(int blocks)
    {
        lock (_gate)
        {
            _room += blocks;
        }
    }
}
