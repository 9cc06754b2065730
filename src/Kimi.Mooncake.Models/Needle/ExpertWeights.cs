namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// A mixture-of-experts layer that turns a code by the matrix of its class. Six experts belong to the classes, expert 7
/// is always chosen with them, and expert 6 is a trap that only a wrong use of the selection bias reaches. Every expert
/// also adds a decoy; the decoys cancel only if scores, bias, normalisation, scaling and the shared expert are right.
/// </summary>
internal sealed class ExpertWeights
{
    private const int Trap = 6;
    private const int Companion = 7;
    private const double ClassLogit = 1.0;
    private const double OtherLogit = -3.0;
    private const double TrapLogit = 1.5;
    private const double CompanionLogit = 0.5;
    private const double DecoyFactor = 6.0;
    private const double TrapFactor = -20.0;
    private const int SharedDecoyUnit = 160;

    /// <param name="energy">Squared length of the residual that enters the layer.</param>
    /// <param name="classSlot">Slot of the class, 6 values.</param>
    /// <param name="source">Slot of the code to turn.</param>
    /// <param name="destination">Slot that receives it, <see cref="ClassWeight"/> times as large.</param>
    /// <param name="decoy">Which turn is the decoy.</param>
    /// <param name="inverse">Whether the turns of the classes are undone.</param>
    public ExpertWeights(double energy, int classSlot, int source, int destination, int decoy, bool inverse)
    {
        Input = new NormInput(NormInput.HiddenGains(7), energy);
        Shared = new FeedForwardWeights(Input, NeedleShape.ExpertIntermediate);
        Experts = [.. Enumerable.Range(0, NeedleShape.Experts)
            .Select(_ => new FeedForwardWeights(Input, NeedleShape.ExpertIntermediate))];
        var decoyTurn = TokenCodes.ClassTurn(decoy);
        for (var expert = 0; expert < NeedleShape.Experts; expert++)
        {
            SetRouter(expert, classSlot);
            for (var m = 0; m < NeedleShape.Code; m++)
            {
                Experts[expert].Open(m);
                Experts[expert].Read(m, source + m);
                for (var n = 0; n < NeedleShape.Code; n++)
                {
                    var weight = ExpertEntry(expert, n, m, inverse, decoyTurn[n, m]);
                    Experts[expert].Down[destination + n, m] = weight / NeedleShape.OpenGain;
                }
            }
        }

        for (var m = 0; m < NeedleShape.Code; m++)
        {
            var unit = SharedDecoyUnit + m;
            Shared.Open(unit);
            Shared.Read(unit, source + m);
            for (var n = 0; n < NeedleShape.Code; n++)
            {
                Shared.Down[destination + n, unit] = -SharedDecoyFactor * decoyTurn[n, m] / NeedleShape.OpenGain;
            }
        }
    }

    /// <summary>Routing weight of the class's expert.</summary>
    public static double ClassWeight { get; } = RoutingWeight(ClassLogit);

    /// <summary>Added to the routing scores for the selection only.</summary>
    public static double[] SelectionBias { get; } = [0.10, -0.05, 0.05, -0.10, 0.15, -0.15, -0.70, 0.50];

    public NormInput Input { get; }

    public SparseMatrix Router { get; } = new(NeedleShape.Experts, NeedleShape.Hidden);

    public FeedForwardWeights[] Experts { get; }

    /// <summary>The shared expert; units 160 to 167 are taken.</summary>
    public FeedForwardWeights Shared { get; }

    private static double SharedDecoyFactor => 0.5 * ClassWeight * DecoyFactor;

    private static double CompanionDecoyFactor => 0.5 * ClassWeight * DecoyFactor / RoutingWeight(CompanionLogit);

    private static double RoutingWeight(double logit) =>
        NeedleShape.ExpertWeightScale * NeedleShape.Sigmoid(logit)
        / (NeedleShape.Sigmoid(ClassLogit) + NeedleShape.Sigmoid(CompanionLogit));

    private static double ExpertEntry(int expert, int row, int column, bool inverse, double decoy)
    {
        if (expert == Companion)
        {
            return -CompanionDecoyFactor * decoy;
        }

        if (expert == Trap)
        {
            return TrapFactor * decoy;
        }

        var turn = TokenCodes.ClassTurn(expert);
        return (inverse ? turn[column, row] : turn[row, column]) + (DecoyFactor * decoy);
    }

    private void SetRouter(int expert, int classSlot)
    {
        var logit = expert switch { Companion => CompanionLogit, Trap => TrapLogit, _ => OtherLogit };
        Router[expert, Slot.Constant] = Input.Constant(logit);
        if (expert < TokenCodes.ClassCount)
        {
            Router[expert, classSlot + expert] = (ClassLogit - OtherLogit) * Input[classSlot + expert];
        }
    }
}
