using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Synthetic;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>The shape of a network with all that K2 has, small enough to write and run in a test.</summary>
internal static class SmallModel
{
    public static KimiConfig Config { get; } = SyntheticShape.K2 with
    {
        VocabularySize = 1200,
        ContextLength = 4096,
        HiddenSize = 256,
        LayerCount = 2,
        HeadCount = 4,
        QueryLoraRank = 64,
        KvLoraRank = 64,
        NopeDimension = 32,
        RopeDimension = 16,
        ValueDimension = 32,
        IntermediateSize = 256,
        ExpertIntermediateSize = 256,
        ExpertCount = 8,
        ExpertsPerToken = 2,
    };
}
