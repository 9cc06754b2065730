using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>Router and experts of one layer.</summary>
internal sealed record ExpertWeights(LinearWeight Router, float[] SelectionBias, ExpertBank Bank) : IDisposable
{
    public void Dispose()
    {
        Router.Dispose();
        Bank.Dispose();
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

    public required FeedForwardWeight? Dense { get; init; }

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
