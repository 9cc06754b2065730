namespace Kimi.Mooncake.Models.Needle;

/// <summary>The matrices of one attention layer, with the ways in which the construction fills them.</summary>
internal sealed class AttentionWeights
{
    /// <param name="energy">Squared length of the residual that enters the layer.</param>
    /// <param name="latentEnergy">Squared length of the cached latent before its norm.</param>
    public AttentionWeights(double energy, double latentEnergy)
    {
        Input = new NormInput(NormInput.HiddenGains(5), energy);
        KvRms = Math.Sqrt(latentEnergy / NeedleShape.Latent);
        for (var pair = 0; pair < NeedleShape.Rope / 2; pair++)
        {
            KvDown[NeedleShape.Latent + (2 * pair), Slot.Constant] = Input.Constant(PositionKernel.KeyLevel);
        }
    }

    /// <summary>The norm before the layer.</summary>
    public NormInput Input { get; }

    public double[] QueryGains { get; } = NormInput.LatentGains(NeedleShape.QueryLatent, 5);

    public double[] KvGains { get; } = NormInput.LatentGains(NeedleShape.Latent, 7);

    /// <summary>Root mean square of the cached latent before its norm.</summary>
    public double KvRms { get; }

    public SparseMatrix QueryDown { get; } = new(NeedleShape.QueryLatent, NeedleShape.Hidden);

    public SparseMatrix QueryUp { get; } = new(NeedleShape.Heads * NeedleShape.Query, NeedleShape.QueryLatent);

    public SparseMatrix KvDown { get; } = new(NeedleShape.Latent + NeedleShape.Rope, NeedleShape.Hidden);

    /// <summary>Row <c>head * Latent + latent</c>, column: dimension of the key.</summary>
    public SparseMatrix KeyUp { get; } = new(NeedleShape.Heads * NeedleShape.Latent, NeedleShape.Nope);

    /// <summary>Row <c>head * Value + index</c>, column: latent.</summary>
    public SparseMatrix ValueUp { get; } = new(NeedleShape.Heads * NeedleShape.Value, NeedleShape.Latent);

    public SparseMatrix Output { get; } = new(NeedleShape.Hidden, NeedleShape.Heads * NeedleShape.Value);

    /// <summary>Makes a latent of the cache the value of a residual slot, times a factor.</summary>
    public void ReadKv(int latent, int slot, double factor = 1) => KvDown[latent, slot] = Input[slot] * factor;

    /// <summary>Gives the norm of the cached latent a constant to work with.</summary>
    public void SetKvConstant(double value) =>
        KvDown[NormInput.ConstantLatent, Slot.Constant] = Input.Constant(value);

    /// <summary>Makes a query latent one for every token; alone before its norm, it comes out constant.</summary>
    public void ReadQueryUnit(int latent) =>
        QueryDown[latent, Slot.Constant] = Input[Slot.Constant] / NeedleShape.ConstantLevel;

    /// <summary>Makes one dimension of a head's key a latent of the cache, as it is after the norm.</summary>
    public void SetKey(int head, int dimension, int latent) =>
        KeyUp[(head * NeedleShape.Latent) + latent, dimension] = 1 / KvGains[latent];

    /// <summary>Sets the weight from a query latent to one unrotated dimension of a head's query.</summary>
    public void SetQuery(int head, int dimension, int latent, double weight) =>
        QueryUp[(head * NeedleShape.Query) + dimension, latent] = weight;

    /// <summary>Makes the rotary part of a head's query, for each unit of a query latent.</summary>
    public void SetKernel(int head, int latent, double[] query, Func<double, double> scale)
    {
        for (var i = 0; i < query.Length; i++)
        {
            SetQuery(head, NeedleShape.Nope + i, latent, scale(query[i]));
        }
    }

    /// <summary>Copies a latent, as it was before the norm, through a head into a residual slot.</summary>
    public void Copy(int head, int index, int latent, int slot, double amplitude = 1)
    {
        ValueUp[(head * NeedleShape.Value) + index, latent] = KvRms / KvGains[latent];
        Output[slot, (head * NeedleShape.Value) + index] = amplitude;
    }
}
