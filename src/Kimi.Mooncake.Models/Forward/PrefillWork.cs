namespace Kimi.Mooncake.Models;

/// <summary>
/// The useful floating-point operations of a prefill, two for each multiply-add: all linear layers once per token, and
/// attention in its expanded form for each pair of a query and a key that it sees. Making keys and values again for a
/// later chunk, norms and exponentials count as nothing; logits count for the last token only.
/// </summary>
internal static class PrefillWork
{
    /// <summary>Operations of a prompt of <paramref name="tokens"/> tokens without a cached prefix.</summary>
    public static double Flops(KimiConfig config, long tokens)
    {
        ArgumentNullException.ThrowIfNull(config);
        var pairs = tokens * (tokens + 1) / 2.0;
        return (2.0 * tokens * LinearWeights(config)) +
            (pairs * config.LayerCount * AttentionFlopsPerPair(config)) +
            (2.0 * config.HiddenSize * config.VocabularySize);
    }

    /// <summary>Operations of a query and a key that it sees in one layer.</summary>
    public static double AttentionFlopsPerPair(KimiConfig config) =>
        2.0 * config.HeadCount * (config.NopeDimension + config.RopeDimension + config.ValueDimension);

    /// <summary>Weights that a token meets in all layers, the key and value up-projections included once.</summary>
    private static double LinearWeights(KimiConfig config)
    {
        double hidden = config.HiddenSize;
        double queries = config.HeadCount * (config.NopeDimension + config.RopeDimension);
        double keysAndValues = config.HeadCount * (config.NopeDimension + config.ValueDimension);
        var query = config.QueryLoraRank == 0
            ? hidden * queries
            : (hidden * config.QueryLoraRank) + (config.QueryLoraRank * queries);
        var attention = query +
            (hidden * (config.KvLoraRank + config.RopeDimension)) +
            (config.KvLoraRank * keysAndValues) +
            (hidden * config.HeadCount * config.ValueDimension);
        var dense = 3 * hidden * config.IntermediateSize;
        var experts = (3 * hidden * config.ExpertIntermediateSize *
            (config.ExpertsPerToken + config.SharedExpertCount)) + (hidden * config.ExpertCount);
        var expertLayers = config.LayerCount - config.DenseLayerCount;
        return (config.LayerCount * attention) + (config.DenseLayerCount * dense) + (expertLayers * experts);
    }
}
