using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>The feed-forward network <c>(silu(x gate) * (x up)) down</c>.</summary>
internal sealed record FeedForwardWeights(LinearWeight Gate, LinearWeight Up, LinearWeight Down) : IDisposable
{
    public void Dispose()
    {
        Gate.Dispose();
        Up.Dispose();
        Down.Dispose();
    }
}

/// <summary>Router, routed experts and shared expert of one layer.</summary>
internal sealed record ExpertWeights(
    LinearWeight Router, float[] SelectionBias, FeedForwardWeights[] Experts, FeedForwardWeights? Shared) : IDisposable
{
    public void Dispose()
    {
        Router.Dispose();
        Shared?.Dispose();
        foreach (var expert in Experts)
        {
            expert.Dispose();
        }
    }
}

/// <summary>All weights of one transformer layer; it has <see cref="Dense"/> or <see cref="Experts"/>.</summary>
internal sealed class LayerWeights : IDisposable
{
    public required float[] AttentionNorm { get; init; }

    public required float[] FeedForwardNorm { get; init; }

    /// <summary>Down-projection of the query; null where queries are projected directly.</summary>
    public required LinearWeight? QueryDown { get; init; }

    public required float[] QueryLatentNorm { get; init; }

    public required LinearWeight QueryUp { get; init; }

    public required LinearWeight KvDown { get; init; }

    public required float[] KvLatentNorm { get; init; }

    public required AttentionWeight KvUp { get; init; }

    public required LinearWeight Output { get; init; }

    public required FeedForwardWeights? Dense { get; init; }

    public required ExpertWeights? Experts { get; init; }

    public void Dispose()
    {
        QueryDown?.Dispose();
        QueryUp.Dispose();
        KvDown.Dispose();
        KvUp.Dispose();
        Output.Dispose();
        Dense?.Dispose();
        Experts?.Dispose();
    }
}
