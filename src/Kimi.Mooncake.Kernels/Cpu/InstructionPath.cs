using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Instructions that products of rounded values are made of. The results are the same bits on every path; only speed
/// differs.
/// </summary>
public enum InstructionPath
{
    /// <summary>Whatever vectors the runtime has, on any processor.</summary>
    Portable = 0,

    /// <summary>Vectors of 256 bits with AVX2 and AVX-VNNI.</summary>
    AvxVnni = 1,

    /// <summary>
    /// Vectors of 512 bits with AVX512-VNNI, through generated routines; products of bfloat16 are
    /// <see cref="Portable"/> on processors without AVX512-BF16.
    /// </summary>
    Avx512 = 2,

    /// <summary>Tiles of AMX for sums of bytes, and <see cref="Avx512"/> for the rest.</summary>
    Amx = 3,
}

/// <summary>Which <see cref="InstructionPath"/>s the processor and the system allow.</summary>
public static class InstructionPaths
{
    private const int FeatureLeaf = 7;
    private const int Avx512VnniBit = 11; // leaf 7.0, ecx
    private const int Avx512Bf16Bit = 5; // leaf 7.1, eax

    /// <summary>The fastest path there is.</summary>
    public static InstructionPath Best { get; } =
        Enum.GetValues<InstructionPath>().Where(IsSupported).Max();

    /// <summary>Whether a path can be taken here.</summary>
    public static bool IsSupported(InstructionPath path) => path switch
    {
        InstructionPath.Portable => true,
        InstructionPath.AvxVnni => AvxVnni.IsSupported,
        InstructionPath.Avx512 => HasAvx512,
        InstructionPath.Amx => AmxSupport.IsUsable,
        _ => false,
    };

    /// <summary>Whether a path has products of bfloat16 in generated routines.</summary>
    internal static bool HasBf16(InstructionPath path) =>
        path >= InstructionPath.Avx512 && HasAvx512
        && ((X86Base.CpuId(FeatureLeaf, 1).Eax >> Avx512Bf16Bit) & 1) != 0;

    private static bool HasAvx512 =>
        MachineCode.IsSupported
        && Vector512.IsHardwareAccelerated && Avx512BW.IsSupported
        && ((X86Base.CpuId(FeatureLeaf, 0).Ecx >> Avx512VnniBit) & 1) != 0;
}
