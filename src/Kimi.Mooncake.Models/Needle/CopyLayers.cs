namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// Layers 0 and 1: attention heads that copy the last 24 codes to every position, and gated units that clear the codes
/// behind the start of a message. Layer 1 also turns the token's code into the payload and measures the window's hash.
/// </summary>
internal static class CopyLayers
{
    private const int Code = NeedleShape.Code;
    private const int NearSymbols = 4;
    private const int FarSymbolsPerHead = 5;
    private const int CutCountLatent = 40;
    private const int ZeroCodeLatent = 41;
    private const int NoCutUnit = 168;
    private const int NoCut10Unit = 169;
    private const int HashUnit = 176;
    private const int HashLinearUnit = HashUnit + WindowHash.HashedSize;
    private const int NoCut15Unit = 233;
    private const double HashGate = 12.0;
    private const double HashSlope = 8.0;

    /// <summary>Heads 0 to 3 copy from offsets 1 to 4.</summary>
    public static AttentionWeights BuildNearAttention()
    {
        const double Constant = 4;
        const int CutLatent = Code;
        const int ZeroLatent = Code + 1;
        var attention = new AttentionWeights(NeedleEnergy.Attention0, 2 + (Constant * Constant));
        attention.ReadQueryUnit(0);
        attention.SetKvConstant(Constant);
        for (var m = 0; m < Code; m++)
        {
            attention.ReadKv(m, Slot.Code + m);
        }

        attention.ReadKv(CutLatent, Slot.Cut);
        attention.ReadKv(ZeroLatent, Slot.ZeroCode);
        for (var head = 0; head < NeedleShape.Heads; head++)
        {
            SetShift(attention, head, head + 1);
            for (var m = 0; m < Code; m++)
            {
                attention.Copy(head, m, m, Slot.NearRaw + (Code * head) + m, NeedleShape.CopyAmplitude);
            }

            attention.Copy(head, CutLatent, CutLatent, Slot.NearFlags + head);
            attention.Copy(head, ZeroLatent, ZeroLatent, Slot.NearZeroCode + head);
        }

        return attention;
    }

    /// <summary>Offset k keeps its code unless there is a cut at offsets 0 to k - 1.</summary>
    public static FeedForwardWeights BuildNearCut(NormInput input)
    {
        var network = new FeedForwardWeights(input, NeedleShape.Intermediate);
        for (var offset = 1; offset <= NearSymbols; offset++)
        {
            for (var m = 0; m < Code; m++)
            {
                var unit = (Code * (offset - 1)) + m;
                network.OpenUnless(unit, Slot.NearCuts[..offset]);
                network.Read(unit, Slot.NearRaw + unit);
                network.Write(unit, Slot.NearCut + unit);
            }
        }

        return network;
    }

    /// <summary>Heads 0 to 3 copy what positions at offsets 5, 10, 15 and 20 know: five codes each.</summary>
    public static AttentionWeights BuildFarAttention()
    {
        const double Constant = 8;
        var attention = new AttentionWeights(NeedleEnergy.Attention1, (FarSymbolsPerHead * 2) + (Constant * Constant));
        attention.ReadQueryUnit(0);
        attention.SetKvConstant(Constant);
        for (var m = 0; m < Code; m++)
        {
            attention.ReadKv(m, Slot.Code + m);
        }

        for (var m = 0; m < NearSymbols * Code; m++)
        {
            attention.KvDown[Code + m, Slot.NearCut + m] =
                attention.Input[Slot.NearCut + m] / NeedleShape.CopyAmplitude;
        }

        foreach (var flag in Slot.NearCuts)
        {
            attention.ReadKv(CutCountLatent, flag);
        }

        attention.ReadKv(ZeroCodeLatent, Slot.ZeroCode);
        for (var offset = 0; offset < NearSymbols; offset++)
        {
            attention.ReadKv(ZeroCodeLatent + 1 + offset, Slot.NearZeroCode + offset);
        }

        for (var head = 0; head < NeedleShape.Heads; head++)
        {
            SetShift(attention, head, FarSymbolsPerHead * (head + 1));
            for (var m = 0; m < FarSymbolsPerHead * Code; m++)
            {
                attention.Copy(
                    head, m, m, Slot.FarRaw + (FarSymbolsPerHead * Code * head) + m, NeedleShape.CopyAmplitude);
            }

            attention.Copy(head, CutCountLatent, CutCountLatent, Slot.FarFlags + head);
            CopyZeroCodes(attention, head);
        }

        return attention;
    }

    public static ExpertWeights BuildPayload()
    {
        var experts = new ExpertWeights(
            NeedleEnergy.FeedForward1, Slot.Class, Slot.Code, Slot.Payload, decoy: 6, inverse: false);
        for (var unit = 0; unit < NeedleShape.Heads * FarSymbolsPerHead * Code; unit++)
        {
            var head = unit / (FarSymbolsPerHead * Code);
            experts.Shared.OpenUnless(unit, CutsUpTo(head));
            experts.Shared.Read(unit, Slot.FarRaw + unit);
            experts.Shared.Write(unit, Slot.FarCut + unit);
        }

        foreach (var (unit, farFlags, slot) in new[]
        {
            (NoCutUnit, 4, Slot.NoCut), (NoCut10Unit, 1, Slot.NoCut10), (NoCut15Unit, 2, Slot.NoCut15),
        })
        {
            experts.Shared.OpenUnless(unit, CutsUpTo(farFlags));
            experts.Shared.ReadUnit(unit);
            experts.Shared.Write(unit, slot);
        }

        AddHashEnergy(experts);
        return experts;
    }

    private static void SetShift(AttentionWeights attention, int head, int distance)
    {
        var scale = Math.Sqrt(NeedleShape.QueryLatent) * attention.QueryGains[0];
        var query = PositionKernel.Query(PositionKernel.Shift, distance);
        attention.SetKernel(head, 0, query, value => value / scale);
    }

    /// <summary>A symbol without a code at a hashed offset counts as a full one in the hash's energy.</summary>
    private static void CopyZeroCodes(AttentionWeights attention, int head)
    {
        for (var i = 0; i < FarSymbolsPerHead; i++)
        {
            var offset = (FarSymbolsPerHead * (head + 1)) + i;
            var latent = ZeroCodeLatent + i;
            attention.ValueUp[(head * NeedleShape.Value) + latent, latent] =
                attention.KvRms / attention.KvGains[latent];
            if (offset > WindowHash.ExactSymbols)
            {
                var weight = WindowHash.Weights[offset - 1];
                attention.Output[Slot.HashEnergy, (head * NeedleShape.Value) + latent] = weight * weight;
            }
        }
    }

    /// <summary>Cut flags of offsets 0 to 4 and of the first <paramref name="far"/> groups behind them.</summary>
    private static int[] CutsUpTo(int far) => [.. Slot.NearCuts, .. Enumerable.Range(Slot.FarFlags, far)];

    /// <summary>
    /// The squared length of the window's hashed part: units with gate <c>12 + 8 h</c> and input <c>h</c> give
    /// <c>h^2</c> and a linear part that one more unit takes away.
    /// </summary>
    private static void AddHashEnergy(ExpertWeights experts)
    {
        const int HashedColumn = WindowHash.ExactSymbols * Code;
        const int HashedSlot = Slot.FarRaw + (NearSymbols * Code);
        var (input, shared) = (experts.Input, experts.Shared);
        for (var a = 0; a < WindowHash.HashedSize; a++)
        {
            var unit = HashUnit + a;
            shared.Gate[unit, Slot.Constant] = input.Constant(HashGate);
            shared.Down[Slot.HashEnergy, unit] = 1 / HashSlope;
            for (var m = 0; m < WindowHash.HashedSymbols * Code; m++)
            {
                var slot = HashedSlot + m;
                var weight = WindowHash.Map[WindowHash.ExactSize + a, HashedColumn + m] / NeedleShape.CopyAmplitude
                    * input[slot];
                shared.Gate[unit, slot] = HashSlope * weight;
                shared.Up[unit, slot] = weight;
                shared.Up[HashLinearUnit, slot] += weight;
            }
        }

        shared.Gate[HashLinearUnit, Slot.Constant] = input.Constant(HashGate);
        shared.Down[Slot.HashEnergy, HashLinearUnit] = -1 / HashSlope;
    }
}
