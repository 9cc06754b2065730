namespace Kimi.Mooncake.Models.Needle;

/// <summary>Where each feature lives among the 512 values of the residual stream.</summary>
internal static class Slot
{
    /// <summary>Code of this position's token, 8 values.</summary>
    public const int Code = 0;

    /// <summary>Class of the token, one of 6 values is 1.</summary>
    public const int Class = 8;

    /// <summary>1 for tokens at which a message starts: the window is cut there.</summary>
    public const int Cut = 14;

    public const int Newline = 15;
    public const int Space = 16;

    /// <summary>1 for the bytes that end a sentence.</summary>
    public const int SentenceEnd = 17;

    public const int MessageEnd = 18;

    /// <summary>1 for special tokens other than the message end.</summary>
    public const int OtherSpecial = 19;

    public const int Assistant = 20;
    public const int Think = 21;

    /// <summary>The calibration head's output, 8 values.</summary>
    public const int Calibration = 22;

    /// <summary>1 for special tokens whose code is zero.</summary>
    public const int ZeroCode = 30;

    /// <summary>The same value for every token.</summary>
    public const int Constant = 32;

    /// <summary>Fills every embedding up to the same length.</summary>
    public const int Fill = 33;

    /// <summary>Codes of offsets 1 to 4 as copied, 8 values each.</summary>
    public const int NearRaw = 64;

    /// <summary>Codes of offsets 1 to 4, zero behind a cut.</summary>
    public const int NearCut = 96;

    /// <summary>Cut flags of offsets 1 to 4.</summary>
    public const int NearFlags = 128;

    /// <summary>Number of cuts at offsets 5..9, 10..14, 15..19 and 20..24.</summary>
    public const int FarFlags = 132;

    /// <summary>Zero-code flags of offsets 1 to 4.</summary>
    public const int NearZeroCode = 136;

    /// <summary>The answer: a code (8 values), then the message end, then the end of thinking.</summary>
    public const int Final = 144;

    public const int FinalMessageEnd = Final + 8;
    public const int FinalThinkEnd = Final + 9;

    /// <summary>Codes of offsets 5 to 24 as copied.</summary>
    public const int FarRaw = 160;

    /// <summary>Codes of offsets 5 to 24, zero behind a cut.</summary>
    public const int FarCut = 320;

    /// <summary>Code of the token, turned by its class: what other positions copy.</summary>
    public const int Payload = 480;

    /// <summary>Payload copied from the best match.</summary>
    public const int CopiedPayload = 488;

    /// <summary>Class copied from the best match, 6 values.</summary>
    public const int CopiedClass = 496;

    public const int CopiedNewline = 502;
    public const int CopiedSpace = 503;
    public const int CopiedMessageEnd = 504;

    /// <summary>1 iff the context has an assistant header.</summary>
    public const int IsChat = 505;

    /// <summary>1 iff there is no cut at offsets 0 to 24.</summary>
    public const int NoCut = 506;

    /// <summary>1 iff there is no cut at offsets 0 to 9.</summary>
    public const int NoCut10 = 507;

    /// <summary>Squared length of the hashed part of the window.</summary>
    public const int HashEnergy = 508;

    /// <summary>1 iff there is no cut at offsets 0 to 14.</summary>
    public const int NoCut15 = 509;

    /// <summary>Cut flags of offsets 0 to 4.</summary>
    public static ReadOnlySpan<int> NearCuts => [Cut, NearFlags, NearFlags + 1, NearFlags + 2, NearFlags + 3];
}
