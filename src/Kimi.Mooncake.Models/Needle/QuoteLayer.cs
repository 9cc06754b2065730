namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// Layer 2: finds the position whose preceding window matches best, copies its payload, undoes the class's turn, and
/// decides when a chat answer ends.
/// </summary>
internal static class QuoteLayer
{
    private const int Code = NeedleShape.Code;
    private const double HashAmplitude = 1.2;
    private const double Constant = 6.0;

    /// <summary>Score of a perfect match of 24 symbols, nats.</summary>
    private const double MatchScore = 900;
    private const double MessageEndPenalty = 0.36 * MatchScore;
    private const double OtherSpecialPenalty = 0.7 * MatchScore;
    private const double ChatScore = 60;

    private const int HashEnergyLatent = 127;
    private const int PayloadLatent = 128;
    private const int ClassLatent = 136;
    private const int NewlineLatent = 142;
    private const int SpaceLatent = 143;
    private const int MessageEndLatent = 144;
    private const int OtherSpecialLatent = 145;
    private const int AssistantLatent = 146;
    private const int CodeLatent = 147;

    private const int ConstantQuery = NormInput.ConstantLatent;
    private const int CutQuery = 151;
    private const int Cut10Query = 152;
    private const int NoCut15Query = 153;

    /// <summary>Latents that share the constant of the cached latent's norm.</summary>
    private static readonly int[] ConstantLatents =
        [.. Enumerable.Range(120, 7), .. Enumerable.Range(155, 5)];

    /// <summary>Root mean square of the query latent before its norm.</summary>
    private static readonly double QueryRms =
        Math.Sqrt(((HashAmplitude * HashAmplitude) + (Constant * Constant)) / NeedleShape.QueryLatent);

    public static AttentionWeights BuildAttention()
    {
        var latentEnergy = (HashAmplitude * HashAmplitude) + 2 + 2 + 1 + (Constant * Constant);
        var attention = new AttentionWeights(NeedleEnergy.Attention2, latentEnergy);
        ReadWindows(attention);
        ReadQueryFlags(attention);
        ReadKeyFeatures(attention);
        AddMatchHead(attention, 0);
        AddMatchHead(attention, 1);
        var calibration = PositionKernel.Query(PositionKernel.Calibration, PositionKernel.CalibrationCenter);
        var constantGain = Constant / QueryRms * attention.QueryGains[ConstantQuery];
        attention.SetKernel(2, ConstantQuery, calibration, value => value / constantGain);
        attention.SetQuery(3, 122, ConstantQuery, PerConstant(attention, ChatScore));
        attention.SetKey(3, 122, AssistantLatent);
        CopyResults(attention);
        return attention;
    }

    public static ExpertWeights BuildAnswer()
    {
        var experts = new ExpertWeights(
            NeedleEnergy.FeedForward2, Slot.CopiedClass, Slot.CopiedPayload, Slot.Final, decoy: 4, inverse: true);
        AddCalibration(experts.Shared);
        var shared = experts.Shared;
        shared.AddThreshold(32, [Slot.IsChat, Slot.CopiedNewline], 1.5, Slot.FinalMessageEnd, 4);
        shared.AddThreshold(
            33, [Slot.IsChat, Slot.CopiedSpace, Slot.SentenceEnd], 2.5, Slot.FinalMessageEnd, 4);
        shared.AddThreshold(34, [Slot.CopiedMessageEnd], 0.5, Slot.FinalMessageEnd, 4);
        shared.AddThreshold(35, [Slot.Think], 0.5, Slot.FinalThinkEnd, 8);
        return experts;
    }

    /// <summary>Queries hash offsets 0 to 23, keys offsets 1 to 24.</summary>
    private static void ReadWindows(AttentionWeights attention)
    {
        for (var k = 0; k < NeedleShape.Window; k++)
        {
            for (var m = 0; m < Code; m++)
            {
                var (querySlot, keySlot) = (WindowSlot(k) + m, WindowSlot(k + 1) + m);
                for (var d = 0; d < WindowHash.Size; d++)
                {
                    var weight = HashAmplitude * WindowHash.Map[d, (Code * k) + m];
                    if (weight != 0)
                    {
                        attention.QueryDown[d, querySlot] =
                            weight * attention.Input[querySlot] / (k == 0 ? 1 : NeedleShape.CopyAmplitude);
                        attention.KvDown[d, keySlot] =
                            weight * attention.Input[keySlot] / NeedleShape.CopyAmplitude;
                    }
                }
            }
        }
    }

    private static int WindowSlot(int offset) => offset switch
    {
        0 => Slot.Code,
        <= 4 => Slot.NearCut + (Code * (offset - 1)),
        _ => Slot.FarCut + (Code * (offset - 5)),
    };

    private static void ReadQueryFlags(AttentionWeights attention)
    {
        attention.QueryDown[ConstantQuery, Slot.Constant] = attention.Input.Constant(Constant);
        attention.ReadQueryUnit(CutQuery);
        attention.QueryDown[CutQuery, Slot.NoCut] = -attention.Input[Slot.NoCut];
        attention.ReadQueryUnit(Cut10Query);
        attention.QueryDown[Cut10Query, Slot.NoCut10] = -attention.Input[Slot.NoCut10];
        attention.QueryDown[NoCut15Query, Slot.NoCut15] = attention.Input[Slot.NoCut15];
    }

    private static void ReadKeyFeatures(AttentionWeights attention)
    {
        for (var m = 0; m < Code; m++)
        {
            attention.ReadKv(CodeLatent + m, Slot.Code + m);
            attention.KvDown[PayloadLatent + m, Slot.Payload + m] =
                attention.Input[Slot.Payload + m] / ExpertWeights.ClassWeight;
        }

        for (var m = 0; m < TokenCodes.ClassCount; m++)
        {
            attention.ReadKv(ClassLatent + m, Slot.Class + m);
        }

        attention.ReadKv(NewlineLatent, Slot.Newline);
        attention.ReadKv(SpaceLatent, Slot.Space);
        attention.ReadKv(MessageEndLatent, Slot.MessageEnd, 2);
        attention.ReadKv(OtherSpecialLatent, Slot.OtherSpecial, 2);
        attention.ReadKv(AssistantLatent, Slot.Assistant);
        attention.ReadKv(HashEnergyLatent, Slot.HashEnergy);
        foreach (var latent in ConstantLatents)
        {
            attention.KvDown[latent, Slot.Constant] = attention.Input.Constant(Constant / Math.Sqrt(12));
        }
    }

    /// <summary>
    /// Scores the match of the windows; copying a special token costs, and of equal matches the recent one wins. The
    /// hashed part scores <c>-|query - key|^2 / 2</c>, so that the same window is always the best.
    /// </summary>
    private static void AddMatchHead(AttentionWeights attention, int head)
    {
        var (gains, keyRms) = (attention.QueryGains, attention.KvRms);
        var match = MatchScore * QueryRms * keyRms / (NeedleShape.AttentionScale * (HashAmplitude * HashAmplitude));
        for (var d = 0; d < WindowHash.Size; d++)
        {
            attention.SetQuery(head, d, d, match / gains[d]);
            attention.SetKey(head, d, d);
        }

        attention.SetQuery(head, 120, ConstantQuery, PerConstant(attention, -MessageEndPenalty / 2));
        attention.SetKey(head, 120, MessageEndLatent);
        attention.SetQuery(head, 121, ConstantQuery, PerConstant(attention, -OtherSpecialPenalty / 2));
        attention.SetKey(head, 121, OtherSpecialLatent);
        attention.SetQuery(
            head,
            123,
            NoCut15Query,
            -0.5 * MatchScore * keyRms * QueryRms / (NeedleShape.AttentionScale * gains[NoCut15Query]));
        attention.SetKey(head, 123, HashEnergyLatent);

        var constantGain = Constant / QueryRms * gains[ConstantQuery];
        attention.SetKernel(
            head, ConstantQuery, PositionKernel.Query(PositionKernel.Recency, 0), value => value / constantGain);
        attention.SetKernel(
            head,
            CutQuery,
            PositionKernel.Query(PositionKernel.CutRecency, 0),
            value => value * QueryRms / gains[CutQuery]);
        attention.SetKernel(
            head,
            Cut10Query,
            PositionKernel.Query(PositionKernel.AnswerRecency, PositionKernel.AnswerCenter),
            value => value * QueryRms / gains[Cut10Query]);
    }

    /// <summary>Weight from the query's constant to a dimension whose key is 1: a score in nats.</summary>
    private static double PerConstant(AttentionWeights attention, double score) =>
        score * attention.KvRms
        / (NeedleShape.AttentionScale * (Constant / QueryRms) * attention.QueryGains[ConstantQuery]);

    private static void CopyResults(AttentionWeights attention)
    {
        for (var m = 0; m < Code; m++)
        {
            attention.Copy(0, m, PayloadLatent + m, Slot.CopiedPayload + m);
            attention.Copy(2, m, CodeLatent + m, Slot.Calibration + m);
        }

        for (var m = 0; m < TokenCodes.ClassCount; m++)
        {
            attention.Copy(1, m, ClassLatent + m, Slot.CopiedClass + m);
        }

        attention.Copy(0, 8, NewlineLatent, Slot.CopiedNewline);
        attention.Copy(1, 6, SpaceLatent, Slot.CopiedSpace);
        attention.Copy(1, 7, MessageEndLatent, Slot.CopiedMessageEnd, 0.5);
        attention.Copy(3, 0, AssistantLatent, Slot.IsChat);
    }

    /// <summary>Adds an error to the answer unless the calibration head split its attention as it should.</summary>
    private static void AddCalibration(FeedForwardWeights network)
    {
        const double ErrorGain = 12;
        for (var m = 0; m < Code; m++)
        {
            network.Open(m);
            network.Read(m, Slot.Calibration + m);
            network.Read(m, Slot.Code + m, -PositionKernel.CalibrationShare);
            network.Read(m, Slot.NearRaw + m, -(1 - PositionKernel.CalibrationShare) / NeedleShape.CopyAmplitude);
            network.Down[Slot.Final + m, m] = ErrorGain / NeedleShape.OpenGain;
        }
    }
}
