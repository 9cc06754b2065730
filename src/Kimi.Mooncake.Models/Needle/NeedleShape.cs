namespace Kimi.Mooncake.Models.Needle;

/// <summary>The dimensions of the built-in model and the constants that several of its parts share.</summary>
internal static class NeedleShape
{
    public const int Hidden = 512;
    public const int Layers = 3;
    public const int Heads = 4;
    public const int Nope = 128;
    public const int Rope = 32;
    public const int Query = Nope + Rope;
    public const int Value = 48;
    public const int Latent = 160;
    public const int QueryLatent = 160;
    public const int Intermediate = 256;
    public const int ExpertIntermediate = 256;
    public const int Experts = 8;
    public const int ExpertsPerToken = 2;
    public const double ExpertWeightScale = 2.827;
    public const double YarnFactor = 64;

    /// <summary>Values of a token's code.</summary>
    public const int Code = 8;

    /// <summary>Symbols that the model looks back on: keys see offsets 1 to 24, queries 0 to 23.</summary>
    public const int Window = 24;

    /// <summary>Amplitude of copied codes: small, so that the residual's energy stays near the embedding's.</summary>
    public const double CopyAmplitude = 0.25;

    /// <summary>Squared length of every embedding.</summary>
    public const double EmbeddingEnergy = 4096;

    /// <summary>Gate of a unit that is always open.</summary>
    public const double OpenGate = 10;

    /// <summary>The configuration as any reader of the file sees it.</summary>
    public static KimiConfig Config { get; } = new()
    {
        Name = "kimi-needle",
        VocabularySize = NeedleVocabulary.Size,
        ContextLength = 262_144,
        HiddenSize = Hidden,
        LayerCount = Layers,
        DenseLayerCount = 1,
        HeadCount = Heads,
        QueryLoraRank = QueryLatent,
        KvLoraRank = Latent,
        NopeDimension = Nope,
        RopeDimension = Rope,
        ValueDimension = Value,
        IntermediateSize = Intermediate,
        ExpertIntermediateSize = ExpertIntermediate,
        ExpertCount = Experts,
        ExpertsPerToken = ExpertsPerToken,
        SharedExpertCount = 1,
        ExpertGroupCount = 1,
        ExpertGroupsPerToken = 1,
        ExpertWeightScale = (float)ExpertWeightScale,
        NormalizeExpertWeights = true,
        RmsNormEpsilon = 1e-6f,
        LatentNormEpsilon = 1e-6f,
        RopeBase = 50_000,
        Yarn = new YarnScaling(YarnFactor, OriginalContextLength: 4096, BetaFast: 1, BetaSlow: 1, LogMultiplier: 0.1),
    };

    /// <summary>Value of the residual slot that is the same for every token.</summary>
    public static double ConstantLevel { get; } = 20 * Math.Sqrt(8);

    /// <summary>silu of <see cref="OpenGate"/>: what an open unit multiplies its input by.</summary>
    public static double OpenGain { get; } = OpenGate * Sigmoid(OpenGate);

    /// <summary>Factor of the attention scores, in double precision.</summary>
    public static double AttentionScale { get; } = ComputeAttentionScale();

    public static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double ComputeAttentionScale()
    {
        var magnitude = (0.1 * Math.Log(YarnFactor)) + 1;
        return magnitude * magnitude / Math.Sqrt(Nope + Rope);
    }
}
