namespace Kimi.Mooncake.Models.Needle;

/// <summary>The embedding of tokens and the head that turns the final residual into logits.</summary>
internal static class TokenWeights
{
    private const double LogitGain = 20;

    public static SparseMatrix BuildEmbedding()
    {
        var embedding = new SparseMatrix(NeedleVocabulary.Size, NeedleShape.Hidden);
        for (var token = 0; token < NeedleVocabulary.Size; token++)
        {
            if (token < NeedleVocabulary.ByteCount)
            {
                EmbedByte(embedding, token);
            }
            else
            {
                EmbedSpecial(embedding, token);
            }

            embedding[token, Slot.Constant] = NeedleShape.ConstantLevel;
            var energy = Enumerable.Range(0, NeedleShape.Hidden).Sum(slot => Math.Pow(embedding[token, slot], 2));
            embedding[token, Slot.Fill] = Math.Sqrt(NeedleShape.EmbeddingEnergy - energy);
        }

        return embedding;
    }

    public static SparseMatrix BuildHead(NormInput input)
    {
        var head = new SparseMatrix(NeedleVocabulary.Size, NeedleShape.Hidden);
        for (var token = 0; token < NeedleVocabulary.ByteCount; token++)
        {
            for (var m = 0; m < NeedleShape.Code; m++)
            {
                head[token, Slot.Final + m] = LogitGain * TokenCodes.OfBytes[token][m] * input[Slot.Final + m];
            }
        }

        head[NeedleVocabulary.IdOf(NeedleVocabulary.MessageEnd), Slot.FinalMessageEnd] =
            LogitGain * 2 * input[Slot.FinalMessageEnd];
        head[NeedleVocabulary.IdOf(NeedleVocabulary.ThinkEnd), Slot.FinalThinkEnd] =
            LogitGain * 2 * input[Slot.FinalThinkEnd];
        return head;
    }

    private static void EmbedByte(SparseMatrix embedding, int value)
    {
        SetCode(embedding, value, value);
        embedding[value, Slot.Class + TokenCodes.ClassOf(value)] = 1;
        embedding[value, Slot.Newline] = value == '\n' ? 1 : 0;
        embedding[value, Slot.Space] = value == ' ' ? 1 : 0;
        embedding[value, Slot.SentenceEnd] = value is '.' or '!' or '?' ? 1 : 0;
    }

    private static void EmbedSpecial(SparseMatrix embedding, int token)
    {
        var text = NeedleVocabulary.Specials[token - NeedleVocabulary.ByteCount];

        // What follows these is the start of a line.
        var isMarker = text is NeedleVocabulary.MessageMiddle or NeedleVocabulary.ThinkEnd;
        var isRole = text is NeedleVocabulary.User or NeedleVocabulary.Assistant or NeedleVocabulary.SystemRole;
        if (isMarker)
        {
            SetCode(embedding, token, '\n');
        }

        embedding[token, Slot.Class + TokenCodes.OtherClass] = 1;
        embedding[token, Slot.Cut] = isMarker || isRole ? 1 : 0;
        embedding[token, text == NeedleVocabulary.MessageEnd ? Slot.MessageEnd : Slot.OtherSpecial] = 1;
        embedding[token, Slot.ZeroCode] = isMarker ? 0 : 1;
        embedding[token, Slot.Assistant] = text == NeedleVocabulary.Assistant ? 1 : 0;
        embedding[token, Slot.Think] = text == NeedleVocabulary.ThinkStart ? 1 : 0;
    }

    private static void SetCode(SparseMatrix embedding, int token, int value)
    {
        for (var m = 0; m < NeedleShape.Code; m++)
        {
            embedding[token, Slot.Code + m] = TokenCodes.OfBytes[value][m];
        }
    }
}
