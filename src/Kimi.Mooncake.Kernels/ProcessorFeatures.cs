using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;
using Arm = System.Runtime.Intrinsics.Arm;

namespace Kimi.Mooncake.Kernels;

/// <summary>What processor this is and which of its instructions matter to the kernels.</summary>
public static class ProcessorFeatures
{
    private const int FeatureLeaf = 7;
    private const int BrandLeaf = unchecked((int)0x8000_0002);
    private const int ExtendedLeaf = unchecked((int)0x8000_0000);
    private const int BrandLeaves = 3;

    /// <summary>The processor's own name; the architecture's where it tells none.</summary>
    public static string ProcessorName { get; } = ReadName();

    /// <summary>Names of the instruction sets that the processor and the kernels can use, as AVX512-VNNI.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. X86Features().Concat(ArmFeatures()).Where(feature => feature.Has).Select(feature => feature.Name)];

    private static (string Name, bool Has)[] X86Features()
    {
        if (!X86Base.IsSupported)
        {
            return [];
        }

        var (_, _, ecx, edx) = X86Base.CpuId(FeatureLeaf, 0);
        var (eax, _, _, _) = X86Base.CpuId(FeatureLeaf, 1);
        return
        [
            ("AVX2", Avx2.IsSupported), ("FMA", Fma.IsSupported), ("AVX-VNNI", AvxVnni.IsSupported),
            ("AVX512F", Avx512F.IsSupported), ("AVX512BW", Avx512BW.IsSupported),
            ("AVX512-VBMI", Avx512Vbmi.IsSupported),
            ("AVX512-VNNI", Avx512F.IsSupported && Bit(ecx, 11)),
            ("AVX512-BF16", Avx512F.IsSupported && Bit(eax, 5)),
            ("AMX-TILE", Bit(edx, 24)), ("AMX-INT8", Bit(edx, 25)), ("AMX-BF16", Bit(edx, 22)),
        ];
    }

    private static (string Name, bool Has)[] ArmFeatures() =>
    [
        ("NEON", Arm.AdvSimd.IsSupported), ("DotProd", Arm.Dp.IsSupported),
    ];

    private static bool Bit(int register, int bit) => ((register >> bit) & 1) != 0;

    private static string ReadName()
    {
        if (!X86Base.IsSupported || (uint)X86Base.CpuId(ExtendedLeaf, 0).Eax < unchecked((uint)BrandLeaf + 2))
        {
            return RuntimeInformation.ProcessArchitecture.ToString();
        }

        var words = new List<int>();
        for (var leaf = 0; leaf < BrandLeaves; leaf++)
        {
            var (eax, ebx, ecx, edx) = X86Base.CpuId(BrandLeaf + leaf, 0);
            words.AddRange([eax, ebx, ecx, edx]);
        }

        return Encoding.ASCII.GetString(MemoryMarshal.AsBytes(words.ToArray().AsSpan())).TrimEnd('\0').Trim();
    }
}
