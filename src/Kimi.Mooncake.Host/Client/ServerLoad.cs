using System.Text.Json;

namespace Kimi.Mooncake.Host.Client;

/// <summary>What a server says of its load.</summary>
internal sealed record ServerLoad
{
    private const string HeldMetric = "mooncake_kv_blocks_held";

    public required int Waiting { get; init; }

    public required int Running { get; init; }

    public required int BlocksFree { get; init; }

    public required int BlocksCached { get; init; }

    public required int BlocksHeld { get; init; }

    public required int BlocksTotal { get; init; }

    /// <summary>The gauge of held blocks in <c>/metrics</c>.</summary>
    public required double MetricsBlocksHeld { get; init; }

    public bool IsEmpty => Waiting == 0 && Running == 0 && BlocksHeld == 0 && MetricsBlocksHeld == 0;

    /// <summary>Reads the body of <c>/health</c> and the figures of <c>/metrics</c>.</summary>
    /// <exception cref="ServerException">A figure is missing.</exception>
    public static ServerLoad Parse(JsonElement health, MetricsText metrics)
    {
        try
        {
            var blocks = health.GetProperty("blocks");
            return new ServerLoad
            {
                Waiting = health.GetProperty("waiting").GetInt32(),
                Running = health.GetProperty("running").GetInt32(),
                BlocksFree = blocks.GetProperty("free").GetInt32(),
                BlocksCached = blocks.GetProperty("cached").GetInt32(),
                BlocksHeld = blocks.GetProperty("held").GetInt32(),
                BlocksTotal = blocks.GetProperty("total").GetInt32(),
                MetricsBlocksHeld = metrics.Get(HeldMetric),
            };
        }
        catch (Exception fault) when (fault is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new ServerException($"/health does not give the load: {fault.Message}");
        }
    }
}
