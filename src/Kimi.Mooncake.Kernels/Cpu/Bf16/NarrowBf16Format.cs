using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Bfloat16 weights in about 11 bits: sign and fraction take 8 as they are, an exponent takes 3. Nothing is lost.
/// </summary>
/// <remarks>
/// <para>A panel is 32 outputs, two groups of 16. Each group has the seven exponents that it uses most; a code names
/// one of them (1 to 7), or says that the exponent is written out (0). Weights are spread over few powers of two, so
/// that one in 40 is.</para>
/// <para>In memory a panel is its header (the exponents of both groups, by code; bytes of what follows), the exponents
/// that are written out, and blocks of 16 inputs: all in the order in which they are read. A block is four quarters of
/// four inputs: 64 bytes for each group, <c>fraction * 2 + sign</c>; then three vectors of codes, of which a byte has
/// the first group's code in bits 0 to 2 and the second one's in bits 3 to 5. The codes of the last quarter are bits 6
/// and 7 of the three.</para>
/// <para>A group's bytes of a quarter are its pairs <c>[2][16][2]</c> of inputs, by halves of 8 values from either in
/// turn, which is how <c>vpunpcklbw</c> and <c>vpunpckhbw</c> join bytes to words.</para>
/// </remarks>
internal static class NarrowBf16Format
{
    internal const int Panel = PanelWeight.PanelColumns;

    /// <summary>Outputs that share exponents.</summary>
    internal const int Group = 16;
    internal const int Groups = Panel / Group;

    /// <summary>Inputs of a block; a matrix has whole ones.</summary>
    internal const int BlockInputs = 16;
    internal const int Quarters = 4;
    internal const int QuarterInputs = BlockInputs / Quarters;
    internal const int VectorBytes = 64;
    internal const int QuarterBytes = Groups * VectorBytes;

    /// <summary>Where a block's codes are.</summary>
    internal const int CodesAt = Quarters * QuarterBytes;
    internal const int CodeVectors = 3;
    internal const int BlockBytes = CodesAt + (CodeVectors * VectorBytes);

    internal const int CodeBits = 3;
    internal const int Codes = 1 << CodeBits;

    /// <summary>Bits of a byte of codes that are the quarter's own.</summary>
    internal const int OwnBits = Groups * CodeBits;

    /// <summary>Bytes of a panel's header; exponents that are written out take a multiple of as many.</summary>
    internal const int HeaderBytes = VectorBytes;

    /// <summary>Where a header says how many bytes written out exponents take.</summary>
    internal const int WrittenAt = Groups * Codes;

    /// <summary>Whether the processor has the instructions that make and read it.</summary>
    internal static bool IsSupported(InstructionPath path) =>
        InstructionPaths.HasBf16(path) && Avx512Vbmi.IsSupported && Avx512Vbmi2.IsSupported;

    /// <summary>Whether a matrix can be written so.</summary>
    internal static bool Fits(in TensorData weight) =>
        weight.Type == TensorType.BF16 && weight.Columns % BlockInputs == 0 && weight.Rows >= Panel;

    /// <summary>Bytes of a panel.</summary>
    /// <param name="inputs">Inputs of the matrix.</param>
    /// <param name="written">Exponents that are written out.</param>
    internal static long PanelBytes(int inputs, long written) =>
        HeaderBytes + WrittenBytes(written) + ((long)inputs / BlockInputs * BlockBytes);

    internal static long WrittenBytes(long written) => (written + HeaderBytes - 1) / HeaderBytes * HeaderBytes;

    /// <summary>Where the blocks of a panel begin.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static unsafe byte* Blocks(byte* panel) => panel + HeaderBytes + *(long*)(panel + WrittenAt);
}
